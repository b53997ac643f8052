//! Opening, limits, errors, the pool, the cache of pipelines, and the loss of a device.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::Command;

use anthill_gpu::*;
use common::{Random, open};

const DOUBLE: Kernel = Kernel::new(
    "double",
    &["struct S { count: u32 }
     @group(0) @binding(0) var<uniform> s: S;
     @group(0) @binding(1) var<storage, read_write> x: array<u32>;
     @compute @workgroup_size(64)
     fn main(@builtin(global_invocation_id) id: vec3<u32>) {
         if id.x < s.count { x[id.x] = x[id.x] * 2u; }
     }"],
);

#[test]
fn adapters_are_listed_and_chosen() {
    let all = adapters();
    let device = open(&Options::default());
    assert_eq!(Some(device.info()), all.first());
    let part = device.info().name.to_uppercase();
    let named = open(&Options { adapter: Choice::Named(part), ..Options::default() });
    assert_eq!(named.info().name, device.info().name);
    let absent = Options { adapter: Choice::Named("no such card".into()), ..Options::default() };
    let error = Device::with(&absent).unwrap_err();
    assert!(matches!(error, GpuError::NoSuchAdapter { .. }), "{error}");
    assert!(error.to_string().contains(&device.info().name), "{error}");
    let limits = device.limits();
    assert!(
        limits.binding_bytes >= 1 << 27 && limits.groups >= 65_535 && limits.invocations >= 256
    );
}

/// Runs itself where the driver's loader finds no driver: the error is typed and says what to do.
#[test]
fn a_machine_without_an_adapter_is_told_what_to_install() {
    if std::env::var_os("ANTHILL_GPU_TEST_NONE").is_some() {
        assert!(adapters().is_empty());
        let error = Device::open().unwrap_err();
        assert!(matches!(error, GpuError::NoAdapter { .. }), "{error}");
        assert!(error.to_string().contains("mesa-vulkan-drivers"), "{error}");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let name = "a_machine_without_an_adapter_is_told_what_to_install";
    let output = Command::new(own)
        .args(["--exact", name, "--nocapture"])
        .env("ANTHILL_GPU_TEST_NONE", "1")
        .env("VK_DRIVER_FILES", "/nonexistent.json")
        .env("VK_ICD_FILENAMES", "/nonexistent.json")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Metal and DirectX are no files that a variable could hide.
    if cfg!(target_os = "linux") {
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn bad_shapes_are_typed_errors() {
    let device = open(&Options { binding_limit: Some(4096), ..Options::default() });
    let d = &device;
    let empty =
        |r: Result<(), GpuError>| assert!(matches!(r, Err(GpuError::Empty { .. })), "{r:?}");
    let shape =
        |r: Result<(), GpuError>| assert!(matches!(r, Err(GpuError::Shape { .. })), "{r:?}");
    let large =
        |r: Result<(), GpuError>| assert!(matches!(r, Err(GpuError::TooLarge { .. })), "{r:?}");
    let nan =
        |r: Result<(), GpuError>| assert!(matches!(r, Err(GpuError::NotFinite { .. })), "{r:?}");
    empty(int8_gemm(d, &[], &[1], 0, 1, 1).map(|_| ()));
    empty(int8_gemm(d, &[], &[], 1, 0, 1).map(|_| ()));
    empty(int8_gemm(d, &[1], &[], 1, 1, 0).map(|_| ()));
    shape(int8_gemm(d, &[1], &[1, 2], 1, 2, 1).map(|_| ()));
    shape(int8_gemm(d, &[1, 2], &[1], 1, 2, 1).map(|_| ()));
    shape(int8_gemm(d, &[1], &[1], usize::MAX, 1, 1).map(|_| ()));
    large(Int8Weights::upload(d, &[0; MAX_INNER + 1], 1, MAX_INNER + 1).map(|_| ()));
    // One row of 4 KiB fits, one byte more does not.
    assert_eq!(int8_gemm(d, &[1; 4096], &[1; 4096], 1, 4096, 1).unwrap(), [4096]);
    large(int8_gemm(d, &[1; 4097], &[1; 4097], 1, 4097, 1).map(|_| ()));
    empty(Int8Rows::upload(d, &[], 3).map(|_| ()));
    empty(Int8Rows::upload(d, &[1], 0).map(|_| ()));
    shape(Int8Rows::upload(d, &[1; 4], 3).map(|_| ()));
    let rows = Int8Rows::upload(d, &[1; 6], 3).unwrap();
    shape(rows.nearest(&[1; 2], 1).map(|_| ()));
    empty(rows.nearest(&[1; 3], 0).map(|_| ()));
    large(rows.nearest(&[1; 3], 3).map(|_| ()));
    let many = BitRows::upload(d, &[1; 1000], 1).unwrap();
    large(many.nearest(&[1], MAX_KEPT + 1).map(|_| ()));
    shape(matmul(d, &[1.0], &[1.0], 1, 1, 2).map(|_| ()));
    nan(matmul(d, &[f32::NAN], &[1.0], 1, 1, 1).map(|_| ()));
    nan(matmul(d, &[1.0], &[f32::INFINITY], 1, 1, 1).map(|_| ()));
    large(matmul(d, &[1.0; 1025], &[1.0; 1025], 1, 1025, 1).map(|_| ()));
    let s = AttentionShape { heads: 1, queries: 2, keys: 1, dim: 1, causal: true };
    large(attention(d, &[1.0; 2], &[1.0], &[1.0], s).map(|_| ()));
    let wide = AttentionShape { queries: 1, dim: 129, causal: false, ..s };
    large(attention(d, &[1.0; 129], &[1.0; 129], &[1.0; 129], wide).map(|_| ()));
    empty(reduce(d, Reduction::Max, &[]).map(|_| ()));
    shape(binary(d, Binary::Add, &[1.0], &[]).map(|_| ()));
    large(d.alloc(1025).map(|_| ()));
    empty(d.upload::<u32>(&[]).map(|_| ()));
    let buffer = d.upload(&[1_u32, 2]).unwrap();
    large(d.write(&buffer, 1, &[1_u32, 2]));
    large(d.limits().grid(1 << 20, 1, 1).map(|_| ()));
    let grid = Grid { x: 1 << 20, y: 1, z: 1 };
    large(d.run(&DOUBLE, &[2], &[&buffer], grid));
    // None of this has hurt the device.
    assert_eq!(int8_gemm(d, &[3], &[5], 1, 1, 1).unwrap(), [15]);
}

#[test]
fn a_line_of_workgroups_is_folded() {
    let limits = open(&Options::default()).limits();
    for groups in [1, 65_535, 65_536, 10_000_000] {
        let grid = limits.line(groups).unwrap();
        assert!(u64::from(grid.x) * u64::from(grid.y) >= groups as u64);
        assert!(grid.x <= limits.groups && grid.y <= limits.groups && grid.z == 1);
    }
}

#[test]
fn a_kernel_of_ones_own_runs_in_order_and_is_compiled_once() {
    for options in [Options::default(), Options { always_stage: true, ..Options::default() }] {
        let device = open(&options);
        let buffer = device.upload(&[1_u32, 2, 3]).unwrap();
        let mut batch = device.batch();
        for _ in 0..5 {
            let grid = device.limits().line(1).unwrap();
            batch.run(&DOUBLE, &[3], &[&buffer], grid).unwrap();
        }
        batch.submit().unwrap();
        assert_eq!(device.read::<u32>(&buffer).unwrap(), [32, 64, 96]);
        device.write(&buffer, 1, &[7_u32]).unwrap();
        assert_eq!(device.read::<u32>(&buffer).unwrap(), [32, 7, 96]);
        assert_eq!(device.pipelines_compiled(), 1);
    }
}

#[test]
fn errors_of_the_driver_are_values() {
    let device = open(&Options::default());
    let broken = Kernel::new("broken", &["fn main() { let x: u32 = 1.5; }"]);
    let buffer = device.upload(&[1_u32]).unwrap();
    let grid = device.limits().line(1).unwrap();
    let error = device.run(&broken, &[1], &[&buffer], grid).unwrap_err();
    assert!(matches!(&error, GpuError::Kernel { kernel, .. } if kernel == "broken"), "{error}");
    // Too few buffers for the kernel.
    let error = device.run(&DOUBLE, &[1], &[], grid).unwrap_err();
    assert!(matches!(error, GpuError::Refused { .. }), "{error}");
    let other = open(&Options::default());
    let error = other.run(&DOUBLE, &[1], &[&buffer], grid).unwrap_err();
    assert!(matches!(error, GpuError::ForeignBuffer { .. }), "{error}");
    device.run(&DOUBLE, &[1], &[&buffer], grid).unwrap();
    assert_eq!(device.read::<u32>(&buffer).unwrap(), [2]);
}

#[test]
fn a_lost_device_is_a_typed_error() {
    for options in [Options::default(), Options { always_stage: true, ..Options::default() }] {
        let device = open(&options);
        let weights = Int8Weights::upload(&device, &[1, 2], 1, 2).unwrap();
        let buffer = device.upload(&[1_u32]).unwrap();
        device.close();
        let lost =
            |r: Result<(), GpuError>| assert!(matches!(r, Err(GpuError::Lost { .. })), "{r:?}");
        lost(weights.multiply(&[1, 2], 1).map(|_| ()));
        lost(device.read::<u32>(&buffer).map(|_| ()));
        lost(device.upload(&[1_u32]).map(|_| ()));
        lost(device.alloc(1).map(|_| ()));
        lost(device.write(&buffer, 0, &[1_u32]));
        lost(device.run(&DOUBLE, &[1], &[&buffer], Grid { x: 1, y: 1, z: 1 }));
        lost(device.wait());
    }
}

#[test]
fn the_pool_is_reused_and_stays_within_its_size() {
    let device = open(&Options { always_stage: true, ..Options::default() });
    let mut random = Random(9);
    for round in 0..40 {
        let words = random.words(random.0 as usize % 900_000 + 1);
        let buffer = device.upload(&words).unwrap();
        assert_eq!(device.read::<u32>(&buffer).unwrap(), words, "round {round}");
        assert!(device.pool_stats().held_bytes <= POOL_BYTES);
    }
    let stats = device.pool_stats();
    assert!(stats.reused > stats.created, "{stats:?}");
    assert_eq!(stats.direct_bytes, 0);
    // Uploads alone find their buffers again too.
    for _ in 0..20 {
        device.upload(&[1_u32; 10]).unwrap();
        device.wait().unwrap();
    }
    assert!(device.pool_stats().created <= stats.created + 1);
    // Longer than the pool: goes through it in pieces.
    let words = random.words(6 << 20);
    let buffer = device.upload(&words).unwrap();
    assert!(device.read::<u32>(&buffer).unwrap() == words);
    assert!(device.pool_stats().held_bytes <= POOL_BYTES);
}

#[test]
fn memory_that_can_be_mapped_is_not_staged() {
    let device = open(&Options::default());
    let buffer = device.upload(&[1_u32; 1000]).unwrap();
    let out = device.alloc(1000).unwrap();
    assert_eq!(device.read::<u32>(&out).unwrap(), [0; 1000]);
    let stats = device.pool_stats();
    if device.limits().direct {
        assert_eq!((stats.direct_bytes, stats.staged_bytes), (8000, 0));
    } else {
        assert_eq!((stats.direct_bytes, stats.staged_bytes), (0, 8000));
    }
    // An uploaded buffer can be read too, by staging.
    assert_eq!(device.read::<u32>(&buffer).unwrap(), [1; 1000]);
}

#[test]
fn threads_share_a_device() {
    fn shared<T: Send + Sync>() {}
    shared::<Int8Weights>();
    shared::<Int8Rows>();
    shared::<BitRows>();
    shared::<Matrix>();
    shared::<Lora>();
    shared::<Buffer>();
    for options in [Options::default(), Options { always_stage: true, ..Options::default() }] {
        let device = open(&options);
        let work = |seed: u64| {
            let device = device.clone();
            move || {
                let mut random = Random(seed);
                for _ in 0..20 {
                    let (a, b) = (random.bytes(30 * 20), random.bytes(40 * 20));
                    let found = int8_gemm(&device, &a, &b, 30, 20, 40).unwrap();
                    assert_eq!(found, cpu::int8_gemm(&a, &b, 20));
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|seed| std::thread::spawn(work(seed))).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
}

#[test]
fn the_adapter_measures_its_own_time() {
    let device = open(&Options { timing: true, ..Options::default() });
    int8_gemm(&device, &[1; 64 * 64], &[1; 64 * 64], 64, 64, 64).unwrap();
    let time = device.take_elapsed();
    assert_eq!(time.is_some(), device.limits().timestamps);
    assert!(time.is_none_or(|t| !t.is_zero()));
    let silent = open(&Options::default());
    assert_eq!(silent.take_elapsed(), None);
}
