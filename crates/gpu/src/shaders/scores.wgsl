// scores[i] = sum of near(word of the query, word of row i) in i32, exactly.

struct Shape {
    rows: u32,
    words: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> query: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<i32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.y * groups.x + group.x) * 64u + lane;
    if row >= shape.rows {
        return;
    }
    var sum = 0;
    for (var p = 0u; p < shape.words; p++) {
        sum += near(query[p], rows[row * shape.words + p]);
    }
    scores[row] = sum;
}
