//! Operators alone, over few rows.

use crate::fixture::Fixture;

/// By a column beside the key, by the key itself, and by both: of equal ones the row with the smallest key stays.
#[test]
fn distinct_by_any_columns() {
    for (columns, expected) in
        [("q", ["a", "b"].as_slice()), ("id", &["a", "b", "c"]), ("q, id", &["a", "b", "c"])]
    {
        let fixture = Fixture::new(&format!(
            r#"
edition 2026
source asks : stream<{{ id: text, q: text }}> = jsonl("asks.jsonl") {{ key = id }}
pipeline p {{ asks |> distinct(columns = [{columns}]) -> kept
  write kept to jsonl("out/kept.jsonl", key = id) }}
"#
        ));
        fixture.write(
            "asks.jsonl",
            "{\"id\":\"c\",\"q\":\"x\"}\n{\"id\":\"b\",\"q\":\"y\"}\n{\"id\":\"a\",\"q\":\"x\"}\n",
        );
        fixture.run().unwrap();
        let kept = fixture.read("out/kept.jsonl");
        let ids: Vec<&str> = kept.lines().map(|line| &line[7..8]).collect();
        assert_eq!(ids, expected, "{columns}: {kept}");
    }
}
