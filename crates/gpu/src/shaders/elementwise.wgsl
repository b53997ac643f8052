// out[i] = f(x[i], y[i]); functions of one argument leave y out.

struct Shape {
    count: u32,
    function: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// Error function by Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most.
fn erf(z: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(z));
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(z) * (1.0 - p * exp(-min(z * z, 80.0)));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i >= shape.count {
        return;
    }
    let value = x[i];
    switch shape.function {
        case 0u: { out[i] = value + y[i]; }
        case 1u: { out[i] = value * y[i]; }
        case 2u: { out[i] = max(value, 0.0); }
        // Beyond 80 the exponential would leave f32's range.
        case 3u: { out[i] = 1.0 / (1.0 + exp(clamp(-value, -80.0, 80.0))); }
        default: { out[i] = 0.5 * value * (1.0 + erf(clamp(value * 0.7071067811865476, -9.0, 9.0))); }
    }
}
