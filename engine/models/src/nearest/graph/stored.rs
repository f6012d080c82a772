//! A graph as bytes, so that an index that is built again need not find its links again.
//!
//! ```text
//! format u32 | links u32 | beam_build u32 | seed u64 | rows u32 | entry u32, !0 without | then for each row, level 0 first:
//!   number of links u16 | links u32 each                                                  all little endian
//! ```
//! Which levels a row is on follows from its id and the seed.

use super::{Graph, GraphShape};

/// Raised whenever equal bytes would stand for other links.
const FORMAT: u32 = 1;

impl Graph {
    /// The bytes; `None` if rows are gone, since the numbers of the others will change.
    pub(in super::super) fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.gone > 0 {
            return None;
        }
        let rows = self.levels.len() as u32;
        let mut bytes = Vec::with_capacity(32 + self.base.len() * 3);
        for word in [FORMAT, self.shape.links as u32, self.shape.beam_build as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(rows.to_le_bytes());
        bytes.extend(self.entry.unwrap_or(u32::MAX).to_le_bytes());
        for row in 0..rows {
            for level in 0..=usize::from(self.levels[row as usize]) {
                let links = self.links(row, level);
                bytes.extend((links.len() as u16).to_le_bytes());
                links.iter().for_each(|link| bytes.extend(link.to_le_bytes()));
            }
        }
        Some(bytes)
    }

    /// The graph of these rows from its bytes; `None` if they are not those of such a graph.
    pub(in super::super) fn from_bytes(
        bytes: &[u8],
        ids: &[u64],
        seed: u64,
        shape: GraphShape,
    ) -> Option<Self> {
        let mut reader = Reader(bytes);
        let stated = [reader.u32()?, reader.u32()?, reader.u32()?];
        if stated != [FORMAT, u32::try_from(shape.links).ok()?, u32::try_from(shape.beam_build).ok()?] {
            return None;
        }
        let (stated_seed, rows, entry) = (u64::from_le_bytes(reader.take()?), reader.u32()?, reader.u32()?);
        if stated_seed != seed || rows as usize != ids.len() {
            return None;
        }
        let mut graph = Self::without_links(ids, seed, shape);
        let highest = graph.levels.iter().max().copied();
        // A walk begins on the highest level, and goes down from there.
        let is_entry = |entry: u32| graph.levels.get(entry as usize).copied() == highest;
        graph.entry = match ids {
            [] => None,
            _ => Some(entry).filter(|entry| is_entry(*entry))?.into(),
        };
        let mut links = Vec::new();
        for row in 0..rows {
            for level in 0..=usize::from(graph.levels[row as usize]) {
                let count = usize::from(u16::from_le_bytes(reader.take()?));
                if count > shape.most(level) {
                    return None;
                }
                links.clear();
                for _ in 0..count {
                    let link = reader.u32()?;
                    // A link leads to a row of the same level.
                    if link == row || usize::from(*graph.levels.get(link as usize)?) < level {
                        return None;
                    }
                    links.push(link);
                }
                graph.link(row, level, &links);
            }
        }
        reader.0.is_empty().then_some(graph)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}
