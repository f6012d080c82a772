//! Does an embedder tell paraphrases from texts that have nothing to do with each other?
//!
//! Two texts of a pair say the same in other words; every other combination is unrelated. The measure is the area under the ROC
//! curve: how often a paraphrase is nearer than an unrelated pair (Hanley and McNeil 1982). Random vectors reach 0.5; what falls below
//! [`AUC_LEAST`] is damaged, wired wrongly, or made for another language than English.

/// Least area of an embedder that works.
pub const AUC_LEAST: f64 = 0.9;

/// Pairs that say the same in other words.
pub(super) const PAIRS: [(&str, &str); 24] = [
    ("The doctor treated the patient for a fever.", "A physician cured the sick man's high temperature."),
    ("How do I install the program on my computer?", "What are the steps to set up this software on a PC?"),
    (
        "The company's profits fell sharply last year.",
        "Earnings of the firm dropped a lot in the previous year.",
    ),
    ("She bought a new car yesterday.", "Yesterday she purchased a brand-new automobile."),
    ("The children are playing football in the park.", "Kids kick a ball around on the grass."),
    ("It will rain heavily tomorrow.", "Strong showers are expected the next day."),
    ("The train to London leaves at noon.", "At twelve o'clock the railway service departs for London."),
    ("Smoking causes lung cancer.", "Cigarettes lead to tumours in the lungs."),
    ("He plays the guitar in a rock band.", "He is a guitarist of a music group."),
    ("The house was destroyed by fire.", "Flames burned the building to the ground."),
    ("A cat sleeps on the sofa.", "On the couch lies a kitten, asleep."),
    ("The government raised taxes on petrol.", "The state increased the duty on fuel."),
    ("Water boils at one hundred degrees.", "At 100 degrees water turns into steam."),
    ("The court found the man guilty of murder.", "The judge convicted him of killing someone."),
    ("The recipe needs two eggs and some flour.", "To bake this, take flour and a pair of eggs."),
    ("The database query is too slow.", "Fetching records with SQL takes a long time."),
    ("The army attacked the city at night.", "Troops assaulted the town after dark."),
    ("The plane landed safely in Paris.", "The flight arrived in Paris without trouble."),
    ("The teacher explained the lesson to the class.", "The pupils were taught by their instructor."),
    ("The sun is a star.", "Our solar system has a star at its centre, the sun."),
    ("The river flooded the village.", "The small town was under water when the stream rose."),
    ("Bees collect nectar from flowers.", "Honey is made from what insects gather on blossoms."),
    (
        "The museum shows paintings by Rembrandt.",
        "Pictures of the Dutch painter are on display in the gallery.",
    ),
    ("The phone's battery does not last long.", "This mobile must be charged too often."),
];

/// The area under the curve for the vectors of the pairs, `[2 * pairs, dim]`, the two of a pair one after the other.
pub(super) fn area(vectors: &[f32], dim: usize) -> f64 {
    let rows: Vec<&[f32]> = vectors.chunks_exact(dim).collect();
    let cosine = |left: &[f32], right: &[f32]| {
        let dot = |left: &[f32], right: &[f32]| -> f64 {
            left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
        };
        let norms = (dot(left, left) * dot(right, right)).sqrt();
        if norms > 0.0 { dot(left, right) / norms } else { 0.0 }
    };
    let related: Vec<f64> = rows.chunks_exact(2).map(|pair| cosine(pair[0], pair[1])).collect();
    let mut unrelated = Vec::new();
    for left in 0..rows.len() {
        for right in left + 1..rows.len() {
            if left / 2 != right / 2 {
                unrelated.push(cosine(rows[left], rows[right]));
            }
        }
    }
    let wins = related.iter().map(|related| {
        let below = unrelated.iter().filter(|other| *other < related).count() as f64;
        let equal = unrelated.iter().filter(|other| *other == related).count() as f64;
        below + equal / 2.0
    });
    wins.sum::<f64>() / (related.len() * unrelated.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_one_for_pairs_alike_a_half_for_chance_and_for_nothing() {
        let mut alike = vec![0.0; 8 * 4];
        for row in 0..8 {
            alike[row * 4 + row / 2] = 1.0;
        }
        assert_eq!(area(&alike, 4), 1.0);
        assert_eq!(area(&[1.0; 32], 4), 0.5);
        assert_eq!(area(&[0.0; 32], 4), 0.5);
        let mut crossed = alike.clone();
        crossed.rotate_left(4);
        assert!(area(&crossed, 4) < 0.5);
    }
}
