//! The parties of an article, those named in most sentences first.

use unicode_width::UnicodeWidthStr;

use crate::answer::PartySummary;

use super::line::{Line, Tone, fit};

const SHOWN: usize = 12;
const GAP: usize = 2;
const WIDEST_ID: usize = 10;
const WIDEST_NAME: usize = 40;
const NARROWEST_NAME: usize = 16;
const WIDEST_BAR: usize = 24;
const NARROWEST_BAR: usize = 8;
const SIGNS: [&str; 4] = ["-", "·", "+", "?"];
const TONES: [Tone; 4] = [Tone::Red, Tone::Faint, Tone::Green, Tone::Faint];

/// The table's lines, in at most `measure` columns.
pub(super) fn lines(parties: &[PartySummary], measure: usize) -> Vec<Line> {
    if parties.is_empty() {
        return vec![Line::new("none", Tone::Plain)];
    }
    let mut sorted: Vec<&PartySummary> = parties.iter().collect();
    sorted.sort_by_key(|party| std::cmp::Reverse(party.sentences));
    let hidden = sorted.len().saturating_sub(SHOWN);
    sorted.truncate(SHOWN);
    let columns = Columns::of(&sorted, measure);
    let mut lines = vec![columns.head()];
    lines.extend(sorted.iter().map(|party| columns.row(party)));
    if hidden > 0 {
        lines.push(Line::new(&format!("… and {hidden} more"), Tone::Faint));
    }
    lines
}

/// Widths; the name gives way before the counts, and the bar before the name.
struct Columns {
    id: usize,
    name: usize,
    /// Its heading.
    sentences: &'static str,
    counts: [usize; 4],
    /// Signs that have a column: the last only where something is unspecified.
    signs: usize,
    bar: usize,
    /// The longest bar, in sentences.
    most: usize,
}

impl Columns {
    fn of(parties: &[&PartySummary], measure: usize) -> Self {
        let most = widest(parties, |party| counts(party).iter().sum());
        let unspecified = parties.iter().any(|party| party.unspecified > 0);
        let mut columns = Self {
            id: widest(parties, |party| fit(&party.id, WIDEST_ID).width()),
            name: widest(parties, |party| named(party, WIDEST_NAME).width()),
            sentences: if measure < 60 { "sent." } else { "sentences" },
            counts: [0, 1, 2, 3].map(|at| widest(parties, |party| digits(counts(party)[at]))),
            signs: if unspecified { 4 } else { 3 },
            bar: 0,
            most,
        };
        columns.share(measure.saturating_sub(columns.fixed()));
        columns
    }

    /// What the id and the counts take.
    fn fixed(&self) -> usize {
        let counts = self.counts.iter().take(self.signs).map(|count| GAP + count);
        self.id + GAP + GAP + self.sentences.len() + counts.sum::<usize>()
    }

    /// Gives the name and the bar what room there is.
    fn share(&mut self, room: usize) {
        let for_name = room.saturating_sub(GAP + self.most.min(NARROWEST_BAR));
        if for_name < self.name.min(NARROWEST_NAME) {
            self.name = self.name.min(room);
            return;
        }
        self.name = self.name.min(for_name);
        self.bar = (room - GAP - self.name).min(WIDEST_BAR);
    }

    fn head(&self) -> Line {
        let mut line = Line::default();
        line.pad(self.id + GAP + self.name + GAP);
        line.push(self.sentences, Tone::Faint);
        for (sign, width) in SIGNS.iter().zip(self.counts).take(self.signs) {
            right(&mut line, sign, width, Tone::Faint);
        }
        line
    }

    fn row(&self, party: &PartySummary) -> Line {
        let mut line = Line::new(&fit(&party.id, self.id), Tone::Faint);
        line.pad(self.id + GAP);
        line.append(&named(party, self.name));
        line.pad(self.id + GAP + self.name + GAP);
        let sentences = party.sentences.to_string();
        line.push(
            &format!("{sentences:>0$}", self.sentences.len()),
            Tone::Plain,
        );
        let cells = counts(party).into_iter().zip(TONES).zip(self.counts);
        for ((count, tone), width) in cells.take(self.signs) {
            let tone = if count == 0 { Tone::Faint } else { tone };
            right(&mut line, &count.to_string(), width, tone);
        }
        self.draw(&mut line, party);
        line
    }

    /// One sign for a sentence, or its share where there are too many.
    fn draw(&self, line: &mut Line, party: &PartySummary) {
        if self.bar == 0 {
            return;
        }
        line.push(&" ".repeat(GAP), Tone::Plain);
        for ((count, sign), tone) in counts(party).into_iter().zip(SIGNS).zip(TONES) {
            line.push(&sign.repeat(self.share_of(count)), tone);
        }
    }

    /// Rounded up, so that nothing counted goes unseen; four roundings fit the three kept back.
    fn share_of(&self, count: usize) -> usize {
        if self.most <= self.bar {
            return count;
        }
        (count * self.bar.saturating_sub(3)).div_ceil(self.most)
    }
}

fn right(line: &mut Line, text: &str, width: usize, tone: Tone) {
    line.push(&format!("{text:>0$}", GAP + width), tone);
}

fn digits(count: usize) -> usize {
    count.to_string().len()
}

fn counts(party: &PartySummary) -> [usize; 4] {
    let [negative, neutral, positive] = party.sentiment;
    [negative, neutral, positive, party.unspecified]
}

fn widest(parties: &[&PartySummary], of: impl Fn(&PartySummary) -> usize) -> usize {
    parties.iter().map(|party| of(party)).max().unwrap_or(0)
}

/// The name, then as many of its other names as there is room for.
fn named(party: &PartySummary, room: usize) -> Line {
    let name = fit(&party.name, room);
    let mut line = Line::new(&name, Tone::Bold);
    let left = room.saturating_sub(name.width() + " ()".len());
    let aliases = listed(&party.aliases, left);
    if !aliases.is_empty() {
        line.push(&format!(" ({aliases})"), Tone::Faint);
    }
    line
}

/// As many as fit, and an ellipsis for the rest.
fn listed(names: &[String], room: usize) -> String {
    (1..=names.len())
        .rev()
        .map(|shown| {
            let rest = if shown < names.len() { ", …" } else { "" };
            format!("{}{rest}", names[..shown].join(", "))
        })
        .find(|list| fit(list, usize::MAX).width() <= room)
        .unwrap_or_default()
}
