//! The Merkle tree of RFC 6962 (§2.1) over the records of one run: the record with the number n is the leaf n, and its
//! leaf hash is the hash that the next record holds as `prev`.
//!
//! Kept is only the compact range: the roots of the perfect subtrees that the leaves make up, the largest first. So a leaf
//! costs one hash on average, a root a few, and the memory grows with the logarithm of the leaves.

use sha2::{Digest, Sha256};

/// A hash of the tree.
pub(crate) type Hash = [u8; 32];

/// Hashes of the longest inclusion proof: a tree has fewer than 2^64 leaves.
pub(crate) const PROOF_HASHES_MAX: usize = 64;

/// The compact range of the leaves so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// Leaves so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next leaf, by its hash.
    pub(crate) fn append(&mut self, leaf: Hash) {
        let (mut node, mut left) = (leaf, self.size);
        while left & 1 == 1 {
            let Some(peak) = self.peaks.pop() else { break };
            node = parent(&peak, &node);
            left >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root over the leaves so far; that of no leaf is the hash of nothing.
    pub(crate) fn root(&self) -> Hash {
        let folded = self.peaks.iter().rev().copied();
        folded
            .reduce(|right, left| parent(&left, &right))
            .unwrap_or_else(|| Sha256::digest([]).into())
    }
}

/// The hash of a node over its two children.
fn parent(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// Makes the inclusion proof (RFC 6962 §2.1.1) of one leaf while all the leaves go by once, in order.
#[derive(Debug)]
pub(crate) struct Prover {
    /// The ranges of leaves whose roots are the proof, from the leaf's sibling up.
    ranges: Vec<(u64, u64, Tree)>,
}

impl Prover {
    /// For the leaf `index` of a tree of `size` leaves; none where it has no such leaf.
    pub(crate) fn new(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let (mut low, mut high) = (0, size);
        let mut ranges = Vec::with_capacity(PROOF_HASHES_MAX);
        while high - low > 1 {
            // The largest power of two below the number of leaves (RFC 6962 §2.1).
            let middle = low + (1 << (63 - (high - low - 1).leading_zeros()));
            if index < middle {
                ranges.push((middle, high, Tree::default()));
                high = middle;
            } else {
                ranges.push((low, middle, Tree::default()));
                low = middle;
            }
        }
        ranges.reverse();
        Some(Self { ranges })
    }

    /// The leaf with this number goes by.
    pub(crate) fn see(&mut self, number: u64, leaf: Hash) {
        let range = self
            .ranges
            .iter_mut()
            .find(|(low, high, _)| (*low..*high).contains(&number));
        if let Some((_, _, tree)) = range {
            tree.append(leaf);
        }
    }

    /// The proof, once every leaf has gone by; none before.
    pub(crate) fn proof(&self) -> Option<Vec<Hash>> {
        let whole =
            |(low, high, tree): &(u64, u64, Tree)| (tree.size() == high - low).then(|| tree.root());
        self.ranges.iter().map(whole).collect()
    }
}

/// The root that an inclusion proof leads to (RFC 9162 §2.1.3.2); none where it does not fit the tree.
pub(crate) fn root_of(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut root) = (index, size - 1, leaf);
    for hash in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = parent(hash, &root);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            root = parent(&root, hash);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::hex;
    use crate::record::fingerprint;

    /// RFC 6962 §2.1 as it is written, over all leaves at once.
    fn by_the_book(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                parent(
                    &by_the_book(&leaves[..split]),
                    &by_the_book(&leaves[split..]),
                )
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| fingerprint(&n.to_be_bytes())).collect()
    }

    fn tree(leaves: &[Hash]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.append(*leaf));
        tree
    }

    #[test]
    fn the_root_is_the_one_of_rfc_6962_at_every_size() {
        let leaves = leaves(130);
        for size in 0..=leaves.len() {
            let tree = tree(&leaves[..size]);
            assert_eq!(tree.root(), by_the_book(&leaves[..size]), "{size}");
            assert_eq!(tree.size(), size as u64);
            assert_eq!(tree.peaks.len(), size.count_ones() as usize);
        }
    }

    /// The reference vectors of Certificate Transparency's own implementation (`merkletree` tests).
    #[test]
    fn known_vectors_hold() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(
            hex(&tree.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (input, root) in inputs.iter().zip(roots) {
            tree.append(fingerprint(input));
            assert_eq!(hex(&tree.root()), root);
        }
    }

    #[test]
    fn every_leaf_of_every_size_is_proved_and_no_other_is() {
        let leaves = leaves(40);
        for size in 1..=leaves.len() {
            let root = tree(&leaves[..size]).root();
            for index in 0..size {
                let mut prover = Prover::new(index as u64, size as u64).unwrap();
                for (number, leaf) in leaves[..size].iter().enumerate() {
                    prover.see(number as u64, *leaf);
                }
                let proof = prover.proof().unwrap();
                let lead = |leaf: usize, index: usize, proof: &[Hash]| {
                    root_of(leaves[leaf], index as u64, size as u64, proof)
                };
                assert_eq!(lead(index, index, &proof), Some(root), "{index} of {size}");
                let other = (index + 1) % leaves.len();
                assert_ne!(lead(other, index, &proof), Some(root));
                if size > 1 {
                    assert_ne!(lead(index, (index + 1) % size, &proof), Some(root));
                    assert_ne!(lead(index, index, &proof[1..]), Some(root));
                }
                let longer = [proof.clone(), vec![root]].concat();
                assert_ne!(lead(index, index, &longer), Some(root));
            }
        }
        assert!(Prover::new(3, 3).is_none());
        assert_eq!(root_of([0; 32], 0, 0, &[]), None);
    }
}
