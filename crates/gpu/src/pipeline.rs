//! Kernels in WGSL, compiled once for each device.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::GpuError;
use crate::device::{Device, block_on, lock};

/// The four-byte dot product by WGSL's packed one.
pub(crate) const DOT4_PACKED: &str = include_str!("shaders/dot4_packed.wgsl");
/// The same by shifts.
pub(crate) const DOT4_PLAIN: &str = include_str!("shaders/dot4_plain.wgsl");

/// One WGSL module whose entry point is `main`. Binding 0 of group 0 is a uniform block of words, the
/// bindings from 1 on are storage buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    name: &'static str,
    parts: &'static [&'static str],
    dot4: bool,
}

impl Kernel {
    /// A kernel from the parts of its text: several kernels may share one.
    pub const fn new(name: &'static str, parts: &'static [&'static str]) -> Self {
        Self { name, parts, dot4: false }
    }

    /// A kernel that calls `dot4(u32, u32) -> i32`, of which the device has the form that fits.
    pub const fn with_dot4(name: &'static str, parts: &'static [&'static str]) -> Self {
        Self { name, parts, dot4: true }
    }

    /// The kernel's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Every text that a device may compile for this kernel, with a name for each.
    pub fn variants(&self) -> Vec<(String, String)> {
        if !self.dot4 {
            return vec![(self.name.to_string(), self.parts.concat())];
        }
        let form = |suffix: &str, packed| (format!("{}_{suffix}", self.name), self.text(packed));
        vec![form("packed", true), form("plain", false)]
    }

    fn text(&self, packed: bool) -> String {
        let dot4 = match (self.dot4, packed) {
            (false, _) => "",
            (true, true) => DOT4_PACKED,
            (true, false) => DOT4_PLAIN,
        };
        [&[dot4], self.parts].concat().concat()
    }
}

/// Compiled kernels by their text.
#[derive(Default)]
pub(crate) struct Pipelines {
    compiled: Mutex<BTreeMap<String, Arc<wgpu::ComputePipeline>>>,
}

impl Pipelines {
    /// How many are compiled.
    pub fn len(&self) -> usize {
        lock(&self.compiled).len()
    }

    /// The pipeline of a kernel, compiled when it is asked for first.
    pub fn get(
        &self,
        device: &Device,
        kernel: &Kernel,
    ) -> Result<Arc<wgpu::ComputePipeline>, GpuError> {
        let text = kernel.text(device.limits().packed_dot);
        let mut compiled = lock(&self.compiled);
        if let Some(pipeline) = compiled.get(&text) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(compile(device, kernel.name, &text)?);
        compiled.insert(text, Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

fn compile(device: &Device, name: &str, text: &str) -> Result<wgpu::ComputePipeline, GpuError> {
    device.check()?;
    let raw = &device.shared.raw;
    let scope = raw.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = raw.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(name),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let pipeline = raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Every kernel writes what it shares before it reads it.
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    match block_on(scope.pop()) {
        Some(error) => {
            Err(GpuError::Kernel { kernel: name.to_string(), reason: error.to_string() })
        }
        None => device.check().map(|()| pipeline),
    }
}
