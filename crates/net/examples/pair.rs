//! Two nodes on loopback in one process: connects them and prints what the crate can do.
//!
//! `cargo run --release -p anthill-net --example pair`

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anthill_net::{NetConfig, NetEvent, Network};
use tokio::sync::mpsc;

type Events = mpsc::Receiver<NetEvent>;

async fn start(seed: u8, dir: &std::path::Path) -> Result<(Network, Events), Box<dyn Error>> {
    let config = NetConfig::new(
        [seed; 32],
        "127.0.0.1:0".parse()?,
        [1; 32],
        dir.join(seed.to_string()),
        Arc::new(|_| true),
        Arc::new(|_, _| true),
    );
    Ok(Network::start(config).await?)
}

async fn until_up(events: &mut Events) -> Result<(), Box<dyn Error>> {
    while let Some(event) = events.recv().await {
        if let NetEvent::PeerUp { .. } = event {
            return Ok(());
        }
    }
    Err("the network stopped".into())
}

/// Answers frames by the same frame and requests by as many bytes as they name.
async fn serve(net: Network, mut events: Events) {
    while let Some(event) = events.recv().await {
        match event {
            NetEvent::Frame { from, bytes } => drop(net.send(&from, bytes)),
            NetEvent::Request { bytes, reply, .. } => {
                let len = bytes.try_into().map_or(0, u32::from_be_bytes);
                drop(reply.send(vec![0; len as usize]));
            }
            _ => {}
        }
    }
}

fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (a, mut events) = start(1, dir.path()).await?;
    let (b, mut events_b) = start(2, dir.path()).await?;
    let began = Instant::now();
    a.add_peer(b.peer_id(), b.local_addrs())?;
    tokio::try_join!(until_up(&mut events), until_up(&mut events_b))?;
    println!("connect            {:>10.2?}", began.elapsed());
    tokio::spawn(serve(b.clone(), events_b));

    let mut trips = Vec::new();
    for _ in 0..2000 {
        let began = Instant::now();
        a.send(&b.peer_id(), vec![0; 64])?;
        while !matches!(events.recv().await, Some(NetEvent::Frame { .. })) {}
        trips.push(began.elapsed());
    }
    trips.sort();
    println!("frame round trip   {:>10.2?} p50", trips[trips.len() / 2]);
    println!("                   {:>10.2?} p99", trips[trips.len() * 99 / 100]);

    let (len, wait) = (32usize << 20, Duration::from_secs(60));
    let began = Instant::now();
    let ask = u32::try_from(len)?.to_be_bytes();
    let answer = a.request(&b.peer_id(), &ask, wait).await?;
    let took = began.elapsed();
    println!("response of 32 MiB {:>10.1} MB/s", rate(answer.len(), took));

    let blob: Vec<u8> = (0..256u32 << 20).map(|i| (i >> 3) as u8).collect();
    let began = Instant::now();
    let hash = a.put_blob(blob.clone()).await?;
    println!("put 256 MiB blob   {:>10.1} MB/s", rate(blob.len(), began.elapsed()));
    let began = Instant::now();
    let got = b.fetch_blob(hash, &[a.peer_id()], 1 << 30).await?;
    println!("fetch 256 MiB blob {:>10.1} MB/s", rate(got.len(), began.elapsed()));
    let mut small = Vec::new();
    for i in 0..200u32 {
        small.push(a.put_blob(vec![i as u8; 4096]).await?);
    }
    let began = Instant::now();
    for hash in &small {
        b.fetch_blob(*hash, &[a.peer_id()], 4096).await?;
    }
    println!("fetch 4 KiB blob   {:>10.2?} each", began.elapsed() / 200);
    println!("{:?}", a.stats());
    a.shutdown().await;
    b.shutdown().await;
    Ok(())
}
