// The sum over a piece of a heavy row, one piece a workgroup.

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read> state: array<u32>;
// First entry, and the one after the last.
@group(0) @binding(2) var<storage, read> pieces: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> sources: array<u32>;
@group(0) @binding(4) var<storage, read> weights: array<u32>;
@group(0) @binding(5) var<storage, read> pi: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> moved: array<vec2<u32>>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if state[0] != 0u || number >= shape.count {
        return;
    }
    let end = pieces[number].y;
    var i = pieces[number].x + lane;
    var own = vec2(0u);
    // Four at once: their loads do not wait for each other.
    for (; i + 3u * LANES < end; i += 4u * LANES) {
        let first = sum(flow(i), flow(i + LANES));
        own = sum(own, sum(first, sum(flow(i + 2u * LANES), flow(i + 3u * LANES))));
    }
    for (; i < end; i += LANES) {
        own = sum(own, flow(i));
    }
    let all = all_lanes(lane, own);
    if lane == 0u {
        moved[number] = all;
    }
}
