// y = y + scale * (t b), t of m x r and b of r x n, row-major: the second half of a LoRA layer. r is
// small, so that each invocation makes one output and no tile is needed.

struct Shape {
    m: u32,
    r: u32,
    n: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + lane;
    if at >= shape.m * shape.n {
        return;
    }
    let row = at / shape.n;
    let column = at % shape.n;
    var sum = 0.0;
    for (var p = 0u; p < shape.r; p++) {
        sum += t[row * shape.r + p] * b[p * shape.n + column];
    }
    y[at] += shape.scale * sum;
}
