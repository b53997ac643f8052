// Each workgroup reduces 4096 values to one: their sum, maximum or minimum.

struct Shape {
    count: u32,
    function: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const BLOCK = 4096u;
const LANES = 256u;

var<workgroup> partial: array<f32, 256>;

fn join(a: f32, b: f32) -> f32 {
    switch shape.function {
        case 0u: { return a + b; }
        case 1u: { return max(a, b); }
        default: { return min(a, b); }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group.y * groups.x + group.x;
    let first = block * BLOCK;
    // A lane without values repeats the block's first, which changes no maximum; a sum starts from zero.
    var value = 0.0;
    if shape.function != 0u && first < shape.count {
        value = x[first];
    }
    for (var i = first + lane; i < min(first + BLOCK, shape.count); i += LANES) {
        value = join(value, x[i]);
    }
    partial[lane] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half = half / 2u) {
        if lane < half {
            partial[lane] = join(partial[lane], partial[lane + half]);
        }
        workgroupBarrier();
    }
    if lane == 0u && block < arrayLength(&out) {
        out[block] = partial[0];
    }
}
