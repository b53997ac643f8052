// The sum over a piece of a heavy row, one piece a workgroup.

struct Shape {
    pieces: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read> state: array<u32>;
// First entry, and the one after the last.
@group(0) @binding(2) var<storage, read> pieces: array<vec2<u32>>;
// Source and weight.
@group(0) @binding(3) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> pi: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read_write> moved: array<vec2<u32>>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if state[0] != 0u || number >= shape.pieces {
        return;
    }
    let piece = pieces[number];
    var own = vec2(0u);
    for (var i = piece.x + lane; i < piece.y; i += LANES) {
        let entry = entries[i];
        own = sum(own, scaled(pi[entry.x], entry.y));
    }
    let all = all_lanes(lane, own);
    if lane == 0u {
        moved[number] = all;
    }
}
