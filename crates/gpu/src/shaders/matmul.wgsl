// c = a b in f32, a of m x k and b of k x n, row-major. The order of the sum is the compiler's.

// A workgroup makes 64 x 64 outputs, an invocation 4 x 4, in steps of 16.
const TILE = 64u;
const DEPTH = 16u;

var<workgroup> a_tile: array<f32, 1024>;
var<workgroup> b_tile: array<vec4<f32>, 256>;

fn load_a(row: u32, first: u32, lane: u32) {
    for (var i = 0u; i < 4u; i++) {
        let r = row + lane / 4u;
        let p = first + (lane % 4u) * 4u + i;
        let at = ((lane % 4u) * 4u + i) * TILE + lane / 4u;
        a_tile[at] = 0.0;
        if r < shape.m && p < shape.k {
            a_tile[at] = a[r * shape.k + p];
        }
    }
}

fn load_b(column: u32, first: u32, lane: u32) {
    let p = first + lane / 16u;
    let j = column + (lane % 16u) * 4u;
    var values = vec4<f32>();
    if p < shape.k {
        let at = p * shape.n + j;
        for (var i = 0u; i < 4u; i++) {
            if j + i < shape.n {
                values[i] = b[at + i];
            }
        }
    }
    b_tile[lane] = values;
}

fn store(row: u32, column: u32, sums: vec4<f32>) {
    if row >= shape.m {
        return;
    }
    for (var j = 0u; j < 4u; j++) {
        if column + j < shape.n {
            c[row * shape.n + column + j] = sums[j];
        }
    }
}

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    for (var first = 0u; first < shape.k; first += DEPTH) {
        load_a(group.y * TILE, first, lane);
        load_b(group.x * TILE, first, lane);
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let i = d * TILE + local.y * 4u;
            let y = b_tile[d * 16u + local.x];
            sum0 += a_tile[i] * y;
            sum1 += a_tile[i + 1u] * y;
            sum2 += a_tile[i + 2u] * y;
            sum3 += a_tile[i + 3u] * y;
        }
        workgroupBarrier();
    }
    let row = group.y * TILE + local.y * 4u;
    let column = group.x * TILE + local.x * 4u;
    store(row, column, sum0);
    store(row + 1u, column, sum1);
    store(row + 2u, column, sum2);
    store(row + 3u, column, sum3);
}
