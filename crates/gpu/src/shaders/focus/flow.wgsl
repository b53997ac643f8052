struct Shape {
    // Rows, or pieces of rows.
    count: u32,
    // Where the chunk of pi begins, and its slots.
    first: u32,
    slots: u32,
}

// What flows by an entry: pi(u) * P(u, v) / 2^32; nothing where u lies in another chunk.
fn flow(entry: u32) -> vec2<u32> {
    let source = sources[entry] - shape.first;
    if source >= shape.slots {
        return vec2(0u);
    }
    return scaled(pi[source], weights[entry]);
}

