//! A value for every character, looked up in two loads.

/// Characters of a page.
const PAGE: usize = 256;

/// Values by code point: pages, of which many are equal and kept once.
pub(crate) struct CharacterTable<T> {
    /// Of each page of code points, where it stands in `pages`.
    page_idx: Vec<u16>,
    pages: Vec<[T; PAGE]>,
}

impl<T: Copy + PartialEq> CharacterTable<T> {
    /// The table that begins with `start` everywhere and is changed by each list in turn: a list holds the code points at which a class
    /// begins and ends, alternating. Cost: some milliseconds.
    pub(crate) fn new<L>(start: T, lists: &[(&[u32], L)], change: impl Fn(&mut T, &L)) -> Self {
        let mut flat = vec![start; char::MAX as usize + 1];
        for (borders, list) in lists {
            for [begin, end] in borders.as_chunks::<2>().0 {
                flat[*begin as usize..*end as usize].iter_mut().for_each(|value| change(value, list));
            }
        }
        let mut table = Self { page_idx: Vec::new(), pages: Vec::new() };
        for page in flat.as_chunks::<PAGE>().0 {
            let known = table.pages.iter().position(|known| known == page);
            let idx = known.unwrap_or_else(|| {
                table.pages.push(*page);
                table.pages.len() - 1
            });
            table.page_idx.push(idx as u16);
        }
        table
    }

    /// The value of a code point.
    ///
    /// # Panics
    /// Beyond the last character.
    #[inline]
    pub(crate) fn of(&self, code: usize) -> T {
        self.pages[usize::from(self.page_idx[code / PAGE])][code % PAGE]
    }
}
