//! Selection: which units stay under a cap of tokens.
//!
//! First-fit down a ranking: a unit is taken with everything its constraints pull in, if the tokens and the gap marks
//! still fit, and skipped otherwise. The result is nearly a prefix of the ranking, so that another cap needs no other
//! ranking. Cost: O(units) after the sort, plus the constraint groups.

use super::keep::Required;

/// A unit that is kept or dropped as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Index of its text.
    pub text: u32,
    /// First byte in the cleaned text.
    pub start: u32,
    /// Byte after the last one in the cleaned text.
    pub end: u32,
    /// Tokens of its bytes.
    pub tokens: u32,
    /// Index of its sentence, or of its passage where passages are selected.
    pub sentence: u32,
    /// True if it stands on lines of its own, so that a gap beside it is a line.
    pub block: bool,
}

/// Units kept under a cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// One flag per unit.
    pub kept: Vec<bool>,
    /// Tokens of the kept units and of the gap marks between them.
    pub tokens: u64,
    /// Runs of neighbouring kept units, per text.
    runs: Vec<u32>,
}

impl Selection {
    /// Nothing of `texts` texts with `units` units.
    fn new(units: usize, texts: usize) -> Self {
        Self { kept: vec![false; units], tokens: 0, runs: vec![0; texts] }
    }

    /// Adds or removes a unit and updates the tokens.
    fn flip(&mut self, units: &[Unit], idx: usize, gap_tokens: u64) {
        let unit = units[idx];
        let is_kept = |other: Option<usize>| {
            other.is_some_and(|other| {
                self.kept.get(other) == Some(&true)
                    && units.get(other).is_some_and(|other| other.text == unit.text)
            })
        };
        let neighbours = u32::from(is_kept(idx.checked_sub(1))) + u32::from(is_kept(Some(idx + 1)));
        let runs = &mut self.runs[unit.text as usize];
        let gaps_before = u64::from(runs.saturating_sub(1));
        if self.kept[idx] {
            *runs = *runs + neighbours - 1;
            self.tokens -= u64::from(unit.tokens);
        } else {
            *runs = *runs + 1 - neighbours;
            self.tokens += u64::from(unit.tokens);
        }
        self.kept[idx] = !self.kept[idx];
        self.tokens = self.tokens + u64::from(runs.saturating_sub(1)) * gap_tokens - gaps_before * gap_tokens;
    }

    /// Drops a unit that is kept.
    pub fn drop_unit(&mut self, units: &[Unit], idx: usize, gap_tokens: u64) {
        if self.kept[idx] {
            self.flip(units, idx, gap_tokens);
        }
    }

    /// Number of kept units.
    pub fn count(&self) -> usize {
        self.kept.iter().filter(|kept| **kept).count()
    }

    /// Units that must stay for the kept ones and are missing.
    pub fn unmet(&self, units: &[Unit], required: &Required) -> u32 {
        let mut missing: Vec<u32> = Vec::new();
        let mut last = None;
        for (idx, unit) in units.iter().enumerate().filter(|(idx, _)| self.kept[*idx]) {
            debug_assert!(self.kept[idx]);
            if last != Some(unit.sentence) {
                missing
                    .extend(required.of(unit.sentence).iter().filter(|other| !self.kept[**other as usize]));
                last = Some(unit.sentence);
            }
        }
        missing.sort_unstable();
        missing.dedup();
        missing.len() as u32
    }
}

/// Takes units down `order` while they fit `cap` tokens; if none fits, the best one alone.
pub fn first_fit(
    units: &[Unit],
    texts: usize,
    order: &[u32],
    cap: u64,
    gap_tokens: u64,
    required: &Required,
) -> Selection {
    let mut selection = Selection::new(units.len(), texts);
    let mut group = Group { members: Vec::new(), queued: vec![false; units.len()] };
    // Sentences whose constraints alone were too much: the room only gets smaller.
    let sentences = units.iter().map(|unit| unit.sentence as usize + 1).max().unwrap_or(0);
    let mut hopeless = vec![false; sentences];
    for &best in order {
        let unit = units[best as usize];
        if selection.kept[best as usize] || hopeless[unit.sentence as usize] {
            continue;
        }
        group.fill(best, units, &selection, required);
        for &idx in &group.members {
            selection.flip(units, idx as usize, gap_tokens);
        }
        if selection.tokens > cap {
            hopeless[unit.sentence as usize] =
                selection.tokens > cap.saturating_add(u64::from(unit.tokens) + 2 * gap_tokens);
            for &idx in group.members.iter().rev() {
                selection.flip(units, idx as usize, gap_tokens);
            }
        }
    }
    if let Some(&best) = order.first()
        && selection.count() == 0
    {
        selection.flip(units, best as usize, gap_tokens);
    }
    selection
}

/// A unit with everything that its constraints pull in.
struct Group {
    members: Vec<u32>,
    /// One flag per unit: a member.
    queued: Vec<bool>,
}

impl Group {
    /// Replaces the members by `best` and what it needs and is not kept yet.
    fn fill(&mut self, best: u32, units: &[Unit], selection: &Selection, required: &Required) {
        for idx in self.members.drain(..) {
            self.queued[idx as usize] = false;
        }
        self.push(best);
        let mut next = 0;
        // Members of one sentence share their list and stand together.
        let mut last = None;
        while let Some(&member) = self.members.get(next) {
            let sentence = units[member as usize].sentence;
            next += 1;
            if last == Some(sentence) {
                continue;
            }
            last = Some(sentence);
            for &other in required.of(sentence) {
                if !selection.kept[other as usize] && !self.queued[other as usize] {
                    self.push(other);
                }
            }
        }
    }

    fn push(&mut self, idx: u32) {
        self.queued[idx as usize] = true;
        self.members.push(idx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(tokens: &[u32]) -> Vec<Unit> {
        let unit = |idx: usize, tokens: u32| Unit {
            text: 0,
            start: idx as u32,
            end: idx as u32 + 1,
            tokens,
            sentence: idx as u32,
            block: false,
        };
        tokens.iter().enumerate().map(|(idx, &tokens)| unit(idx, tokens)).collect()
    }

    #[test]
    fn a_unit_that_does_not_fit_is_skipped_and_the_next_tried() {
        let units = units(&[5, 9, 4]);
        let selection = first_fit(&units, 1, &[0, 1, 2], 10, 1, &Required::default());
        assert_eq!(selection.kept, [true, false, true]);
        assert_eq!(selection.tokens, 10);
    }

    #[test]
    fn gap_marks_count_and_filling_a_hole_gives_one_back() {
        let units = units(&[3, 2, 3]);
        let selection = first_fit(&units, 1, &[0, 2, 1], 8, 1, &Required::default());
        assert_eq!((selection.kept.as_slice(), selection.tokens), (&[true, true, true][..], 8));
        let selection = first_fit(&units, 1, &[0, 2, 1], 6, 1, &Required::default());
        assert_eq!((selection.kept.as_slice(), selection.tokens), (&[true, true, false][..], 5));
    }

    #[test]
    fn the_best_unit_stays_if_nothing_fits() {
        let units = units(&[30, 20]);
        let selection = first_fit(&units, 1, &[1, 0], 3, 1, &Required::default());
        assert_eq!((selection.kept.as_slice(), selection.tokens), (&[false, true][..], 20));
    }
}
