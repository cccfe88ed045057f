//! What edits come down to: cuts and insertions at byte offsets, carried out in one pass.

/// One step of the pass: text `start..end` gives way to `text`.
pub(super) struct Piece<'e> {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Order among pieces that start at one offset.
    pub(super) rank: Rank,
    pub(super) text: &'e [u8],
    /// Whether a comma goes before the text.
    pub(super) comma: bool,
}

/// The order of pieces at one offset: what ends there comes before what starts there. Wraps of one value nest,
/// so their fronts go in reverse order of calls; the number is the call's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    After(usize),
    Insert(usize),
    Before(std::cmp::Reverse<usize>),
    Cut,
}

impl<'e> Piece<'e> {
    pub(super) fn cut(start: u32, end: u32, text: &'e [u8]) -> Self {
        Self {
            start,
            end,
            rank: Rank::Cut,
            text,
            comma: false,
        }
    }
}

pub(super) fn emit(text: &[u8], pieces: &[Piece<'_>]) -> Vec<u8> {
    let (added, cut) = pieces.iter().fold((0, 0), |(added, cut), piece| {
        let cut = cut + (piece.end - piece.start) as usize;
        (added + piece.text.len() + usize::from(piece.comma), cut)
    });
    let mut out = Vec::with_capacity((text.len() + added).saturating_sub(cut));
    let mut at = 0;
    for piece in pieces {
        out.extend_from_slice(text.get(at..piece.start as usize).unwrap_or_default());
        if piece.comma {
            out.push(b',');
        }
        out.extend_from_slice(piece.text);
        at = piece.end as usize;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}
