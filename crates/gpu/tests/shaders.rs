//! Every text that a device may compile passes naga and becomes SPIR-V, MSL and HLSL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_gpu::KERNELS;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

fn validated(name: &str, text: &str) -> (naga::Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    // No capability beyond WebGPU's own: a browser takes the same text.
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    (module, info)
}

#[test]
fn kernels_translate_to_every_backend() {
    let texts: Vec<_> = KERNELS.iter().flat_map(|k| k.variants()).collect();
    assert_eq!(texts.len(), 24);
    for (name, text) in texts {
        let (module, info) = validated(&name, &text);
        assert_eq!(module.entry_points.len(), 1, "{name}");
        assert_eq!(module.entry_points[0].name, "main", "{name}");
        let spirv =
            naga::back::spv::write_vec(&module, &info, &naga::back::spv::Options::default(), None)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(spirv[0], 0x0723_0203, "{name}");
        let options = naga::back::msl::Options {
            lang_version: (2, 1),
            fake_missing_bindings: true,
            ..Default::default()
        };
        let pipeline = naga::back::msl::PipelineOptions::default();
        let (msl, _) = naga::back::msl::write_string(&module, &info, &options, &pipeline)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(msl.contains("kernel void"), "{name}");
        let mut hlsl = String::new();
        let options = naga::back::hlsl::Options::default();
        naga::back::hlsl::Writer::new(&mut hlsl, &options, &Default::default())
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(hlsl.contains("numthreads"), "{name}");
    }
}

/// What every WebGPU implementation offers: 16 KiB of shared memory, 256 invocations.
#[test]
fn kernels_keep_to_the_default_limits() {
    for (name, text) in KERNELS.iter().flat_map(|k| k.variants()) {
        let (module, _) = validated(&name, &text);
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup)
            .map(|(_, v)| layouter[v.ty].size)
            .sum();
        assert!(shared <= 16_384, "{name} shares {shared} bytes");
        let invocations: u32 = module.entry_points[0].workgroup_size.iter().product();
        assert!(invocations <= 256, "{name} has {invocations} invocations");
        let storage = module
            .global_variables
            .iter()
            .filter(|(_, v)| matches!(v.space, naga::AddressSpace::Storage { .. }))
            .count();
        assert!(storage <= 8, "{name} has {storage} storage buffers");
    }
}
