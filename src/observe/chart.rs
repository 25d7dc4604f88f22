//! Values over time as a line of text for a terminal, and as an SVG document. Pure.

use std::fmt::Write as _;

use super::envelope::{QueryAnswer, Series};
use crate::xml::escaped;

/// Heights of a column, lowest first.
const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Size of the document, and of the part above the names.
const WIDTH: f64 = 480.0;
const PLOT: f64 = 120.0;
/// Space around the lines.
const MARGIN: f64 = 8.0;
/// Height of a name.
const ROW: f64 = 16.0;
/// Colors of lines, in this order. They differ in lightness too, for readers who do not see colors.
const COLORS: [&str; 8] = ["#0b5fa5", "#c4561a", "#2f8132", "#8a3ffc", "#9f1853", "#6f6f6f", "#007d79", "#b28600"];

/// Most lines of a chart.
pub const MOST_LINES: usize = COLORS.len();

/// A line of a chart.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// What it shows, such as a service.
    pub name: String,
    /// Values at equal distances, oldest first; none where there is no value.
    pub points: &'a [Option<f64>],
}

/// One column for each value, on a scale from 0 to the largest; a space where there is no value.
#[must_use]
pub fn sparkline(points: &[Option<f64>]) -> String {
    let most = largest(points.iter().flatten());
    let column = |value: f64| {
        let level = (share(value, most) * 8.0).ceil().clamp(1.0, 8.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 8")]
        COLUMNS[level as usize - 1]
    };
    points.iter().map(|point| point.map_or(' ', column)).collect()
}

/// An SVG document with the lines on a scale from 0 to the largest value, and their names. It has no scripts and no links.
/// The title should have the unit.
#[must_use]
pub fn svg(title: &str, lines: &[Line<'_>]) -> String {
    let lines = &lines[..lines.len().min(MOST_LINES)];
    let most = largest(lines.iter().flat_map(|line| line.points).flatten());
    let rows = u32::try_from(lines.len()).map_or(0.0, f64::from);
    let height = PLOT + ROW * (rows + 1.0) + MARGIN;
    let title = escaped(title);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\"><title>{title}</title>\
         <text x=\"{MARGIN}\" y=\"{ROW}\">{title}; scale 0 to {}</text>",
        number(most)
    );
    for (line, color) in lines.iter().zip(COLORS) {
        for part in parts(line.points, most) {
            // Writing into a String does not fail.
            let _ = write!(text, "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" points=\"{part}\"/>");
        }
    }
    let mut y = PLOT + ROW * 2.0;
    for (line, color) in lines.iter().zip(COLORS) {
        let last = line.points.iter().flatten().last().map_or_else(|| "no value".to_owned(), |value| number(*value));
        let _ = write!(text, "<text x=\"{MARGIN}\" y=\"{y}\" fill=\"{color}\">{}: {last}</text>", escaped(&line.name));
        y += ROW;
    }
    text.push_str("</svg>");
    text
}

/// A number with three digits, such as `0.123`, `12.3` or `1230`.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 || value == 0.0 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Coordinates of the parts of a line between gaps. A lone value is a short dash.
fn parts(points: &[Option<f64>], most: f64) -> Vec<String> {
    let last = u32::try_from(points.len().saturating_sub(1).max(1)).map_or(f64::MAX, f64::from);
    let step = (WIDTH - 2.0 * MARGIN) / last;
    let (mut parts, mut part, mut x) = (Vec::new(), Vec::new(), MARGIN);
    for point in points.iter().copied().chain([None]) {
        if let Some(value) = point {
            part.push((x, ROW + PLOT - share(value, most) * (PLOT - MARGIN)));
        } else if let Some((x, y)) = part.first().copied() {
            if part.len() == 1 {
                part.push((x + 2.0, y));
            }
            let text: Vec<String> = part.drain(..).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            parts.push(text.join(" "));
        }
        x += step;
    }
    parts
}

fn largest<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.copied().filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// 0 to 1; 0 for a value that is not a number.
fn share(value: f64, most: f64) -> f64 {
    let share = value / most;
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

/// The answer to a range query, as one answer to an instant query for each of its times.
#[derive(Debug)]
pub struct Past {
    /// The series; their only sample is that of the time that was requested last.
    answer: QueryAnswer,
    /// Samples of each series, oldest first; `NaN` where it has none.
    columns: Vec<Vec<f64>>,
    steps: usize,
}

impl Past {
    /// Of the answer for `steps + 1` times from `start` on, all `step` seconds.
    #[must_use]
    pub fn of(mut answer: QueryAnswer, start: f64, step: f64, steps: usize) -> Self {
        let column = |series: &mut Series| {
            let mut column = vec![f64::NAN; steps + 1];
            for (time, value) in series.samples.drain(..) {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "negative numbers become 0")]
                let at = ((time - start) / step).round() as usize;
                if let Some(place) = column.get_mut(at) {
                    *place = value;
                }
            }
            column
        };
        let columns = answer.series.iter_mut().map(column).collect();
        Self { answer, columns, steps }
    }

    /// Calls a function with the answer for each time, oldest first.
    pub fn each(&mut self, mut with: impl FnMut(usize, &QueryAnswer)) {
        for at in 0..=self.steps {
            for (series, column) in self.answer.series.iter_mut().zip(&self.columns) {
                series.samples.clear();
                series.samples.push((0.0, column[at]));
            }
            with(at, &self.answer);
        }
    }

    /// Number of times.
    #[must_use]
    pub const fn times(&self) -> usize {
        self.steps + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparkline_has_a_column_for_each_value_and_gaps_between() {
        assert_eq!(sparkline(&[Some(0.0), Some(4.0), None, Some(8.0)]), "▁▄ █");
        assert_eq!(sparkline(&[Some(0.0), Some(0.0)]), "▁▁", "no traffic is a flat line");
        assert_eq!(sparkline(&[Some(f64::NAN), Some(f64::INFINITY)]), "▁▁");
    }

    #[test]
    fn svg_names_its_lines_and_leaves_gaps() {
        let points = [Some(1.0), Some(2.0), None, Some(1.0), None, Some(4.0), Some(3.0)];
        let name = "<script>&\"\u{1}".to_owned();
        let text = svg("rate", &[Line { name, points: &points }]);
        assert_eq!(text.matches("<polyline").count(), 3, "{text}");
        assert!(text.contains("&lt;script&gt;&amp;&quot;\u{fffd}: 3.00") && !text.contains("<script"), "{text}");
        assert!(text.contains("scale 0 to 4.00") && text.ends_with("</svg>"), "{text}");
    }

    #[test]
    fn times_of_a_range_are_answers_of_their_own() {
        let series = Series { labels: Vec::new(), samples: vec![(100.0, 1.0), (120.0, 3.0)] };
        let answer = QueryAnswer { series: vec![series], warnings: Vec::new() };
        let mut past = Past::of(answer, 100.0, 10.0, 2);
        let mut seen = Vec::new();
        past.each(|at, answer| seen.push((at, answer.series[0].last().filter(|value| value.is_finite()))));
        assert_eq!(seen, [(0, Some(1.0)), (1, None), (2, Some(3.0))]);
    }
}
