//! One question between replicas over TCP: who are you, and may I have a ticket?
//!
//! The server speaks first, with a random number. The client answers with its own, the question, and
//! a proof that it knows the cluster's secret, bound to both numbers: so a question cannot be replayed.
//! The answer is sealed with a key of secret and numbers: so a ticket is read by who may have it.

use std::net::SocketAddr;
use std::time::Duration;

use anthill_identity::{ClusterSecret, Exchange};
use anthill_types::GenesisHash;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::home::random;

/// How long one exchange may take.
pub const EXCHANGE: Duration = Duration::from_secs(5);
/// Longest answer in bytes, sealed.
const MAX_ANSWER: u32 = 16 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who are you, and where can you be reached?
    Who,
    /// The same; and give me a ticket.
    Ticket,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The chain, hexadecimal.
    pub genesis: String,
    /// The answering node, hexadecimal.
    pub node: String,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// A ticket, when one was asked for and given.
    pub ticket: Option<String>,
}

/// A question as it is sent: kind, and the chain that the asker is in (zeros: in none).
pub struct Asked {
    /// What is asked.
    pub question: Question,
    /// The asker's chain.
    pub genesis: Option<GenesisHash>,
}

impl Asked {
    fn to_bytes(&self) -> [u8; 33] {
        let mut bytes = [0; 33];
        bytes[0] = match self.question {
            Question::Who => 0,
            Question::Ticket => 1,
        };
        if let Some(genesis) = &self.genesis {
            bytes[1..].copy_from_slice(&genesis.0);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; 33]) -> Option<Self> {
        let question = match bytes[0] {
            0 => Question::Who,
            1 => Question::Ticket,
            _ => return None,
        };
        let genesis: [u8; 32] = bytes[1..].try_into().ok()?;
        let genesis = (genesis != [0; 32]).then_some(GenesisHash(genesis));
        Some(Self { question, genesis })
    }
}

/// Asks the replica at an address.
///
/// # Errors
/// It does not answer in time, or not with the cluster's secret.
pub async fn ask(
    address: SocketAddr,
    secret: &ClusterSecret,
    asked: &Asked,
) -> Result<Answer, String> {
    let exchanged = tokio::time::timeout(EXCHANGE, ask_at(address, secret, asked)).await;
    exchanged.unwrap_or_else(|_| Err("no answer in time".into()))
}

async fn ask_at(
    address: SocketAddr,
    secret: &ClusterSecret,
    asked: &Asked,
) -> Result<Answer, String> {
    let io = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect(address).await.map_err(io)?;
    let mut theirs = [0; 32];
    stream.read_exact(&mut theirs).await.map_err(io)?;
    let exchange: Exchange = [theirs, random::<32>().map_err(|e| e.to_string())?];
    let question = asked.to_bytes();
    let proof = secret.prove(&exchange, &question);
    let message = [&exchange[1][..], &question, &proof].concat();
    stream.write_all(&message).await.map_err(io)?;
    let length = stream.read_u32().await.map_err(|_| "it refuses: is its secret the same?")?;
    if length > MAX_ANSWER {
        return Err(format!("an answer of {length} bytes is too long"));
    }
    let mut sealed = vec![0; length as usize];
    stream.read_exact(&mut sealed).await.map_err(io)?;
    let answer = secret.open(&exchange, &sealed).map_err(|e| e.to_string())?;
    serde_json::from_slice(&answer).map_err(|e| e.to_string())
}

/// Hears a question out; `None` when the asker does not know the secret, or is not asking properly.
/// Whoever asks so is told nothing.
///
/// # Errors
/// What the system says.
pub async fn hear(
    stream: &mut TcpStream,
    secret: &ClusterSecret,
) -> std::io::Result<Option<(Exchange, Asked)>> {
    let own = random::<32>().map_err(std::io::Error::other)?;
    stream.write_all(&own).await?;
    let mut message = [0; 32 + 33 + 32];
    stream.read_exact(&mut message).await?;
    let parts = (|| {
        let (theirs, rest) = message.split_first_chunk::<32>()?;
        let (question, rest) = rest.split_first_chunk::<33>()?;
        Some((*theirs, *question, *rest.first_chunk::<32>()?))
    })();
    let Some((theirs, question, proof)) = parts else { return Ok(None) };
    let exchange = [own, theirs];
    if !secret.accepts(&exchange, &question, &proof) {
        return Ok(None);
    }
    Ok(Asked::from_bytes(&question).map(|asked| (exchange, asked)))
}

/// Answers.
///
/// # Errors
/// What the system says.
pub async fn answer(
    stream: &mut TcpStream,
    secret: &ClusterSecret,
    exchange: &Exchange,
    answer: &Answer,
) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(answer)?;
    let sealed = secret.seal(exchange, &bytes).map_err(std::io::Error::other)?;
    let length = u32::try_from(sealed.len()).ok().filter(|l| *l <= MAX_ANSWER);
    let length = length.ok_or_else(|| std::io::Error::other("the answer is too long"))?;
    stream.write_u32(length).await?;
    stream.write_all(&sealed).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn secret(text: &str) -> ClusterSecret {
        ClusterSecret::new(text.as_bytes()).unwrap()
    }

    async fn serve_one(listener: TcpListener, secret: ClusterSecret, with: Answer) -> bool {
        let (mut stream, _) = listener.accept().await.unwrap();
        match hear(&mut stream, &secret).await.unwrap() {
            Some((exchange, asked)) => {
                assert_eq!(asked.question, Question::Ticket);
                assert_eq!(asked.genesis, Some(GenesisHash([7; 32])));
                answer(&mut stream, &secret, &exchange, &with).await.unwrap();
                true
            }
            None => false,
        }
    }

    #[tokio::test]
    async fn an_answer_comes_to_who_knows_the_secret() {
        for (theirs, heard) in
            [("one secret of enough length", true), ("another of that length", false)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let with = Answer { genesis: "ab".into(), ..Answer::default() };
            let server = tokio::spawn(serve_one(
                listener,
                secret("one secret of enough length"),
                with.clone(),
            ));
            let asked = Asked { question: Question::Ticket, genesis: Some(GenesisHash([7; 32])) };
            let got = ask(address, &secret(theirs), &asked).await;
            assert_eq!(server.await.unwrap(), heard);
            match heard {
                true => assert_eq!(got.unwrap(), with),
                false => assert!(got.unwrap_err().contains("secret")),
            }
        }
    }

    #[tokio::test]
    async fn a_question_cannot_be_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = secret("one secret of enough length");
        // What a listener on the wire has recorded.
        let old: Exchange = [[1; 32], [2; 32]];
        let question = Asked { question: Question::Ticket, genesis: None }.to_bytes();
        let recorded = [&old[1][..], &question, &own.prove(&old, &question)].concat();
        let replay = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&recorded).await.unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            said.len()
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(hear(&mut stream, &own).await.unwrap().is_none());
        drop(stream);
        assert_eq!(replay.await.unwrap(), 32, "nothing but the server's number");
    }

    #[test]
    fn questions_have_one_encoding() {
        assert!(Asked::from_bytes(&[2; 33]).is_none());
        let asked = Asked { question: Question::Who, genesis: None };
        assert_eq!(asked.to_bytes(), [0; 33]);
        assert_eq!(Asked::from_bytes(&[0; 33]).unwrap().genesis, None);
    }
}
