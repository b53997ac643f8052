//! Embeds the lines of a file with candle's BERT on one thread, as a peer of `anthill embed`.
//!
//! usage: RAYON_NUM_THREADS=1 minilm-candle MODEL_DIR LINES.txt BATCH OUT.npy
use std::time::Instant;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

type Error = Box<dyn std::error::Error + Send + Sync>;

const CONFIG: &str = r#"{"vocab_size":30522,"hidden_size":384,"num_hidden_layers":6,
"num_attention_heads":12,"intermediate_size":1536,"hidden_act":"gelu","hidden_dropout_prob":0.1,
"max_position_embeddings":512,"type_vocab_size":2,"initializer_range":0.02,"layer_norm_eps":1e-12,
"pad_token_id":0,"position_embedding_type":"absolute","use_cache":true,"model_type":"bert"}"#;

fn main() -> Result<(), Error> {
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, lines, batch, out] = &args[..] else {
        return Err("usage: minilm-candle MODEL_DIR LINES.txt BATCH OUT.npy".into());
    };
    let text = std::fs::read_to_string(lines)?;
    let texts: Vec<&str> = text.lines().collect();
    let weights = std::fs::read(format!("{folder}/model.safetensors"))?;
    let config: Config = serde_json::from_str(CONFIG)?;
    let builder = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
    let model = BertModel::load(builder, &config)?;
    let mut tokenizer = Tokenizer::from_file(format!("{folder}/tokenizer.json"))?;
    tokenizer.with_padding(Some(PaddingParams::default()));
    tokenizer.with_truncation(Some(TruncationParams { max_length: 256, ..Default::default() }))?;
    let start = Instant::now();
    let mut vectors = Vec::new();
    for some in texts.chunks(batch.parse()?) {
        vectors.push(embed(&model, &tokenizer, some)?);
    }
    let seconds = start.elapsed().as_secs_f64();
    let all = Tensor::cat(&vectors, 0)?;
    all.write_npy(out)?;
    println!("{{\"texts_per_second\": {}}}", texts.len() as f64 / seconds);
    Ok(())
}

fn embed(model: &BertModel, tokenizer: &Tokenizer, texts: &[&str]) -> Result<Tensor, Error> {
    let encoded = tokenizer.encode_batch(texts.to_vec(), true)?;
    let row = |f: &dyn Fn(&tokenizers::Encoding) -> Vec<u32>| {
        let rows: Vec<Vec<u32>> = encoded.iter().map(f).collect();
        Tensor::new(rows, &Device::Cpu)
    };
    let (ids, mask) = (row(&|e| e.get_ids().to_vec())?, row(&|e| e.get_attention_mask().to_vec())?);
    let hidden = model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
    let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
    let mean = hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?;
    let norm = mean.sqr()?.sum_keepdim(1)?.sqrt()?;
    Ok(mean.broadcast_div(&norm)?.i(..)?)
}
