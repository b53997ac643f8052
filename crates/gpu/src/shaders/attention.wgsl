// out = softmax(q k^T * scale) v for each head, without the matrix of scores in memory (FlashAttention,
// Dao et al. 2022): keys and values come in tiles of 32, the softmax is corrected as its maximum grows.
// q and out are heads x queries x dim, k and v are heads x keys x dim.

struct Shape {
    queries: u32,
    keys: u32,
    dim: u32,
    // With 1, query i sees key j when j <= i + keys - queries.
    causal: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// A workgroup of 8 x 8 invocations makes 32 queries of one head; an invocation owns 4 queries and, in each
// slice of 32 dimensions, 4 of them. Rows in shared memory are 33 long, so that a column meets all banks.
const TILE = 32u;
const STRIDE = 33u;
// Below every score; infinity is left out because WGSL does not promise its arithmetic.
const LOWEST = -3.0e38;

var<workgroup> left: array<f32, 1056>;
var<workgroup> right: array<f32, 1056>;
var<workgroup> weight: array<f32, 1056>;
var<workgroup> highest: array<f32, 32>;
var<workgroup> total: array<f32, 32>;
var<workgroup> shrink: array<f32, 32>;

// The scores of 4 x 4 pairs of query and key, over all dimensions.
struct Scores {
    row0: vec4<f32>,
    row1: vec4<f32>,
    row2: vec4<f32>,
    row3: vec4<f32>,
}

fn load_q(head: u32, first: u32, dim: u32, lane: u32) {
    for (var i = lane; i < TILE * TILE; i += 64u) {
        let row = first + i / TILE;
        let d = dim + i % TILE;
        var value = 0.0;
        if row < shape.queries && d < shape.dim {
            value = q[(head * shape.queries + row) * shape.dim + d];
        }
        left[(i / TILE) * STRIDE + i % TILE] = value;
    }
}

fn load_k(head: u32, first: u32, dim: u32, lane: u32) {
    for (var i = lane; i < TILE * TILE; i += 64u) {
        let row = first + i / TILE;
        let d = dim + i % TILE;
        var value = 0.0;
        if row < shape.keys && d < shape.dim {
            value = k[(head * shape.keys + row) * shape.dim + d];
        }
        right[(i / TILE) * STRIDE + i % TILE] = value;
    }
}

fn load_v(head: u32, first: u32, dim: u32, lane: u32) {
    for (var i = lane; i < TILE * TILE; i += 64u) {
        let row = first + i / TILE;
        let d = dim + i % TILE;
        var value = 0.0;
        if row < shape.keys && d < shape.dim {
            value = v[(head * shape.keys + row) * shape.dim + d];
        }
        right[(i / TILE) * STRIDE + i % TILE] = value;
    }
}

// Writes weights[row][column] = score, or the lowest where the query may not see the key.
fn put(row: u32, column: u32, query: u32, key: u32, scores: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        let seen = key + j < shape.keys
            && (shape.causal == 0u || key + j + shape.queries <= query + shape.keys);
        weight[row * STRIDE + column + j] = select(LOWEST, scores[j] * shape.scale, seen);
    }
}

fn score_tile(head: u32, query: u32, key: u32, local: vec2<u32>, lane: u32) {
    var s = Scores();
    for (var dim = 0u; dim < shape.dim; dim += TILE) {
        load_q(head, query, dim, lane);
        load_k(head, key, dim, lane);
        workgroupBarrier();
        for (var d = 0u; d < TILE; d++) {
            let i = local.y * 4u * STRIDE + d;
            let j = local.x * 4u * STRIDE + d;
            let y = vec4<f32>(
                right[j],
                right[j + STRIDE],
                right[j + 2u * STRIDE],
                right[j + 3u * STRIDE],
            );
            s.row0 += left[i] * y;
            s.row1 += left[i + STRIDE] * y;
            s.row2 += left[i + 2u * STRIDE] * y;
            s.row3 += left[i + 3u * STRIDE] * y;
        }
        workgroupBarrier();
    }
    let row = local.y * 4u;
    let column = local.x * 4u;
    put(row, column, query + row, key + column, s.row0);
    put(row + 1u, column, query + row + 1u, key + column, s.row1);
    put(row + 2u, column, query + row + 2u, key + column, s.row2);
    put(row + 3u, column, query + row + 3u, key + column, s.row3);
    workgroupBarrier();
}

// Turns the tile's scores into weights under the new maximum; `shrink` corrects what was summed before.
fn soften(row: u32) {
    var most = highest[row];
    for (var j = 0u; j < TILE; j++) {
        most = max(most, weight[row * STRIDE + j]);
    }
    var sum = 0.0;
    for (var j = 0u; j < TILE; j++) {
        let score = weight[row * STRIDE + j];
        var w = 0.0;
        if score > LOWEST {
            w = exp(score - most);
        }
        weight[row * STRIDE + j] = w;
        sum += w;
    }
    var keep = 0.0;
    if highest[row] > LOWEST {
        keep = exp(highest[row] - most);
    }
    shrink[row] = keep;
    total[row] = total[row] * keep + sum;
    highest[row] = most;
}

// One slice of 32 dimensions of the output: 4 queries x 4 dimensions.
fn gather(local: vec2<u32>, old: Scores) -> Scores {
    var s = old;
    let row = local.y * 4u;
    s.row0 *= shrink[row];
    s.row1 *= shrink[row + 1u];
    s.row2 *= shrink[row + 2u];
    s.row3 *= shrink[row + 3u];
    for (var key = 0u; key < TILE; key++) {
        let j = key * STRIDE + local.x * 4u;
        let y = vec4<f32>(right[j], right[j + 1u], right[j + 2u], right[j + 3u]);
        s.row0 += weight[row * STRIDE + key] * y;
        s.row1 += weight[(row + 1u) * STRIDE + key] * y;
        s.row2 += weight[(row + 2u) * STRIDE + key] * y;
        s.row3 += weight[(row + 3u) * STRIDE + key] * y;
    }
    return s;
}

fn store_row(head: u32, query: u32, row: u32, dim: u32, values: vec4<f32>) {
    if query >= shape.queries {
        return;
    }
    for (var j = 0u; j < 4u; j++) {
        if dim + j < shape.dim {
            out[(head * shape.queries + query) * shape.dim + dim + j] = values[j] / total[row];
        }
    }
}

fn store(head: u32, first: u32, local: vec2<u32>, slice: u32, s: Scores) {
    let row = local.y * 4u;
    let dim = slice * TILE + local.x * 4u;
    store_row(head, first + row, row, dim, s.row0);
    store_row(head, first + row + 1u, row + 1u, dim, s.row1);
    store_row(head, first + row + 2u, row + 2u, dim, s.row2);
    store_row(head, first + row + 3u, row + 3u, dim, s.row3);
}

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.y;
    let query = group.x * TILE;
    if lane < TILE {
        highest[lane] = LOWEST;
        total[lane] = 0.0;
    }
    workgroupBarrier();
    // Tiles of keys behind the last query that this workgroup makes are left out.
    var end = shape.keys;
    if shape.causal == 1u {
        end = min(end, query + TILE + shape.keys - shape.queries);
    }
    var out0 = Scores();
    var out1 = Scores();
    var out2 = Scores();
    var out3 = Scores();
    for (var key = 0u; key < end; key += TILE) {
        score_tile(head, query, key, local.xy, lane);
        if lane < TILE {
            soften(lane);
        }
        workgroupBarrier();
        load_v(head, key, 0u, lane);
        workgroupBarrier();
        out0 = gather(local.xy, out0);
        workgroupBarrier();
        if shape.dim > TILE {
            load_v(head, key, TILE, lane);
            workgroupBarrier();
            out1 = gather(local.xy, out1);
            workgroupBarrier();
        }
        if shape.dim > 2u * TILE {
            load_v(head, key, 2u * TILE, lane);
            workgroupBarrier();
            out2 = gather(local.xy, out2);
            workgroupBarrier();
        }
        if shape.dim > 3u * TILE {
            load_v(head, key, 3u * TILE, lane);
            workgroupBarrier();
            out3 = gather(local.xy, out3);
            workgroupBarrier();
        }
    }
    store(head, query, local.xy, 0u, out0);
    store(head, query, local.xy, 1u, out1);
    store(head, query, local.xy, 2u, out2);
    store(head, query, local.xy, 3u, out3);
}
