// Checks proofs with @confio/ics23: node ics23.cjs PACKAGE_FOLDER LIST.
//
// The package knows no option to compare keys by their hash, which our specification asks for in
// proofs of absence. So those are given to it with the keys hashed already, which says the same. Nor
// does it know empty subtrees: a proof of absence beside one is refused by it (and taken by the crate
// `ics23`); such a refusal is allowed exactly when an empty subtree lies on the way.
const { createHash } = require('crypto');
const { readFileSync } = require('fs');
const [, , folder, list] = process.argv;
const { ics23, verifyMembership, verifyNonMembership } = require(folder);

const EMPTY = Buffer.from('SPARSE_MERKLE_PLACEHOLDER_HASH__');
const sha256 = (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest());
const { HashOp, LengthOp } = ics23;
const spec = (prehashKey) => ({
  leafSpec: {
    hash: HashOp.SHA256,
    prehashKey,
    prehashValue: HashOp.SHA256,
    length: LengthOp.NO_PREFIX,
    prefix: new Uint8Array(Buffer.from('JMT::LeafNode')),
  },
  innerSpec: {
    childOrder: [0, 1],
    childSize: 32,
    minPrefixLength: 16,
    maxPrefixLength: 16,
    emptyChild: new Uint8Array(EMPTY),
    hash: HashOp.SHA256,
  },
  maxDepth: 64,
});
const hashed = (side) =>
  side &&
  ics23.ExistenceProof.create({
    ...side,
    key: sha256(side.key),
    leaf: ics23.LeafOp.create({ ...side.leaf, prehashKey: HashOp.NO_HASH }),
  });

function holds(bytes, root, key, value) {
  try {
    const proof = ics23.CommitmentProof.decode(bytes);
    // Its decoder overlooks wrong wire types: one proof would have several spellings.
    if (Buffer.compare(ics23.CommitmentProof.encode(proof).finish(), bytes) !== 0) return false;
    if (value) return verifyMembership(proof, spec(HashOp.SHA256), root, key, value);
    const { nonexist } = proof;
    for (const side of [nonexist.left, nonexist.right]) {
      // What is replaced below must be what the specification asks for.
      if (side && side.leaf.prehashKey !== HashOp.SHA256) return false;
    }
    if (Buffer.compare(nonexist.key, key) !== 0) return false;
    const at = sha256(key);
    const again = { key: at, left: hashed(nonexist.left), right: hashed(nonexist.right) };
    return verifyNonMembership({ nonexist: again }, spec(HashOp.NO_HASH), root, at);
  } catch {
    return false;
  }
}

const hasEmpty = (bytes) => Buffer.from(bytes).includes(EMPTY);
const count = { present: 0, absent: 0, besideEmpty: 0, altered: 0 };
for (const line of readFileSync(list, 'utf8').trim().split('\n')) {
  const [root, key, value, proof] = line
    .split(' ')
    .map((text) => (text === '-' ? null : new Uint8Array(Buffer.from(text, 'hex'))));
  if (holds(proof, root, key, value)) count[value ? 'present' : 'absent'] += 1;
  else if (!value && hasEmpty(proof)) count.besideEmpty += 1;
  else throw new Error(`a right proof was refused: ${line}`);
  for (let place = 0; place < proof.length; place++) {
    for (const flip of [1, 0x80, 0xff]) {
      const altered = proof.slice();
      altered[place] ^= flip;
      if (holds(altered, root, key, value)) {
        throw new Error(`byte ${place} ^ ${flip} of a proof may be anything: ${line}`);
      }
      count.altered += 1;
    }
  }
}
if (count.present < 43 || count.absent < 10) throw new Error(JSON.stringify(count));
console.log(JSON.stringify(count));
