//! The adapters of this machine, and which one is taken.

use crate::GpuError;
use crate::device::block_on;

/// What an adapter is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A card with its own memory.
    Discrete,
    /// A part of the processor, sharing its memory.
    Integrated,
    /// A card lent to a virtual machine.
    Virtual,
    /// The driver does not say.
    Other,
    /// The processor itself, by a driver such as lavapipe: right, and slow.
    Software,
}

impl std::fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        })
    }
}

/// One adapter as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Name that the driver gives.
    pub name: String,
    /// What it is made of.
    pub kind: AdapterKind,
    /// Interface that it is reached by: `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Driver and its version, as far as it says so.
    pub driver: String,
}

impl std::fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.kind, self.backend)
    }
}

/// Which adapter to open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first in the order discrete, integrated, virtual, other, software.
    #[default]
    Best,
    /// The first of this kind.
    Kind(AdapterKind),
    /// The first whose name contains this text, upper and lower case alike.
    Named(String),
}

impl Choice {
    fn takes(&self, info: &AdapterInfo) -> bool {
        match self {
            Self::Best => true,
            Self::Kind(kind) => info.kind == *kind,
            Self::Named(name) => info.name.to_lowercase().contains(&name.to_lowercase()),
        }
    }

    fn wanted(&self) -> String {
        match self {
            Self::Best => "any".into(),
            Self::Kind(kind) => kind.to_string(),
            Self::Named(name) => format!("named {name:?}"),
        }
    }
}

/// Lists the adapters that can compute, best kind first; empty on a machine without a driver.
pub fn adapters() -> Vec<AdapterInfo> {
    found(instance().as_ref()).into_iter().map(|(info, _)| info).collect()
}

/// The drivers' door; none on a platform for which no backend was built.
pub(crate) fn instance() -> Option<wgpu::Instance> {
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return None;
    }
    Some(wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle()))
}

fn found(instance: Option<&wgpu::Instance>) -> Vec<(AdapterInfo, wgpu::Adapter)> {
    let Some(instance) = instance else { return Vec::new() };
    let all = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let computes = |a: &wgpu::Adapter| {
        a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    };
    let mut listed: Vec<_> =
        all.into_iter().filter(computes).map(|a| (describe(&a.get_info()), a)).collect();
    listed.sort_by_key(|(info, _)| info.kind);
    listed
}

/// The adapter that a choice falls on.
pub(crate) fn choose(
    instance: Option<&wgpu::Instance>,
    choice: &Choice,
) -> Result<(AdapterInfo, wgpu::Adapter), GpuError> {
    let all = found(instance);
    if all.is_empty() {
        let reason = match instance {
            Some(_) => "no Vulkan, Metal or DirectX 12 driver answers",
            None => "this program was built without a backend for this platform",
        };
        return Err(GpuError::NoAdapter { reason: reason.into() });
    }
    let names: Vec<String> = all.iter().map(|(info, _)| info.to_string()).collect();
    all.into_iter()
        .find(|(info, _)| choice.takes(info))
        .ok_or_else(|| GpuError::NoSuchAdapter { wanted: choice.wanted(), found: names.join(", ") })
}

fn describe(info: &wgpu::AdapterInfo) -> AdapterInfo {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    };
    AdapterInfo {
        name: info.name.clone(),
        kind,
        backend: info.backend.to_str().to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
    }
}
