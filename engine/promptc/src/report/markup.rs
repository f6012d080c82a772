//! A writer of elements that closes what it opened and escapes what it is given.
//!
//! Its output is well-formed XML and HTML at once, so one writer serves the page, the charts and JUnit. Text of the data
//! goes in through [`Markup::text`] and attributes alone; [`Markup::raw`] takes only what this crate made.

use std::fmt::Write;

/// Elements under construction.
#[derive(Debug, Default)]
pub(super) struct Markup {
    out: String,
    open: Vec<&'static str>,
}

/// Attributes of an element: names, and values that are escaped.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Markup {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Opens an element.
    pub(super) fn start(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push('>');
        self.open.push(name);
    }

    /// Closes the element that was opened last.
    pub(super) fn end(&mut self) {
        let name = self.open.pop().expect("invariant: each end has its start");
        let _ = write!(self.out, "</{name}>");
    }

    /// An element with text alone.
    pub(super) fn leaf(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) {
        self.start(name, attributes);
        self.text(text);
        self.end();
    }

    /// An element without content, as `<path d="..."/>`. In HTML only for those that never have any.
    pub(super) fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push_str("/>");
    }

    /// Text, escaped.
    pub(super) fn text(&mut self, text: &str) {
        escape(&mut self.out, text);
    }

    /// A line break between elements, for whoever reads the source.
    pub(super) fn line(&mut self) {
        self.out.push('\n');
    }

    /// Markup of this crate's own making, as it is.
    pub(super) fn raw(&mut self, markup: &str) {
        self.out.push_str(markup);
    }

    /// All of it. Everything that was opened must be closed.
    pub(super) fn finish(self) -> String {
        debug_assert!(self.open.is_empty(), "left open: {:?}", self.open);
        self.out
    }

    fn tag(&mut self, name: &str, attributes: Attributes<'_>) {
        let _ = write!(self.out, "<{name}");
        for (name, value) in attributes {
            let _ = write!(self.out, " {name}=\"");
            escape(&mut self.out, value);
            self.out.push('"');
        }
    }
}

/// Appends text so that it is text in HTML, XML and attributes. Characters that would not be seen, or that would turn the
/// reading direction, are written as their number.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            _ if is_hidden(character) => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
}

/// Text on one line with every hidden character written as its number, for terminals and Markdown.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' | '\r' => out.push(' '),
            _ if is_hidden(character) => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
    out
}

/// Control characters, marks of reading direction, and what XML forbids.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// JSON that may stand in a `script` element: no character that could end it or start a comment.
pub(super) fn script_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 64);
    for character in json.chars() {
        match character {
            // Outside a string these do not occur in JSON, so that an escape is right wherever they are.
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{7f}' => out.push_str("\\u007f"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            '\u{fffe}' => out.push_str("\\ufffe"),
            '\u{ffff}' => out.push_str("\\uffff"),
            _ => out.push(character),
        }
    }
    out
}

/// What is wrong with the nesting of elements; a second opinion for tests.
#[cfg(test)]
pub(super) fn nesting_fault(markup: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        if text.contains('>') {
            return Some(format!("bare > in {text:?}"));
        }
        let inner = &rest[at + 1..];
        let Some(end) = tag_end(inner) else {
            return Some(format!("tag without end: {:.60}", &rest[at..]));
        };
        let tag = &inner[..end];
        rest = &inner[end + 1..];
        if tag.starts_with(['!', '?']) || tag.ends_with('/') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Some(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let name = tag.split(char::is_whitespace).next().unwrap_or_default();
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) || name.is_empty() {
            return Some(format!("odd tag {tag:?}"));
        }
        open.push(name);
    }
    open.pop().map(|name| format!("<{name}> is left open"))
}

#[cfg(test)]
fn tag_end(inner: &str) -> Option<usize> {
    let mut is_quoted = false;
    for (idx, byte) in inner.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'<' => return None,
            b'>' if !is_quoted => return Some(idx),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut markup = Markup::new();
        markup.start("p", &[("title", "a\"b<c>'&\u{0}")]);
        markup.text("</p><script>alert('1')</script> \u{1b}[31m \u{202e} 🦀\n");
        markup.end();
        let text = markup.finish();
        assert_eq!(
            text,
            "<p title=\"a&quot;b&lt;c&gt;&#39;&amp;\\u{0}\">&lt;/p&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; \
             \\u{1b}[31m \\u{202e} 🦀\n</p>"
        );
        assert_eq!(nesting_fault(&text), None);
    }

    #[test]
    fn the_check_sees_what_is_wrong() {
        for wrong in ["<p>", "<p></b>", "</p>", "<p>a > b</p>", "<p title=\"<\"></p>", "<p", "< p></ p>"] {
            assert!(nesting_fault(wrong).is_some(), "{wrong}");
        }
        assert_eq!(nesting_fault("<!doctype html><p a=\"1 &gt; 0\"><br/>x</p>"), None);
    }

    #[test]
    fn json_cannot_leave_its_element() {
        let json = serde_json::to_string(&["</script><!--", "\u{2028}&"]).unwrap();
        let safe = script_safe(&json);
        assert!(!safe.contains(['<', '>', '&', '\u{2028}']), "{safe}");
        assert_eq!(
            serde_json::from_str::<Vec<String>>(&safe).unwrap(),
            serde_json::from_str::<Vec<String>>(&json).unwrap()
        );
    }

    #[test]
    fn one_line_without_hidden_characters() {
        assert_eq!(visible("a\nb\t\u{1b}[2J\u{202e}é"), "a b \\u{1b}[2J\\u{202e}é");
    }
}
