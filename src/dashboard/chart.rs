//! Small inline SVG charts. Each stands beside its numbers as text, so it is hidden from screen readers.

use std::fmt::Write;

use maud::{Markup, html};

/// Width and height of a sparkline, in its own units.
const SIZE: (f64, f64) = (120.0, 24.0);

/// A horizontal bar of `value` on a scale from 0 to `most`.
pub(super) fn bar(value: f64, most: f64, class: &str) -> Markup {
    let share = share(value, most);
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.scale width="100" height="8" rx="1" {}
            rect class=(class) width=(format!("{:.1}", share * 100.0)) height="8" rx="1" {}
        }
    }
}

/// 0 to 1; 0 for a value that is not a number.
fn share(value: f64, most: f64) -> f64 {
    let share = value / most;
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

/// Values over time as a line, the newest at the right, on a scale from 0 to the largest value. Nothing for fewer than two.
pub(super) fn sparkline(values: &[f64]) -> Markup {
    let most = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 {
        return html! {};
    }
    let (width, height) = SIZE;
    let step = (width - 4.0) / f64::from(u32::try_from(values.len() - 1).unwrap_or(u32::MAX));
    let (mut points, mut x, mut y) = (String::new(), 2.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        y = height - 2.0 - share(*value, most) * (height - 4.0);
        if at > 0 {
            x += step;
        }
        let _ = write!(points, "{x:.1},{y:.1} "); // a String takes everything
    }
    html! {
        svg.sparkline viewBox={ "0 0 " (width) " " (height) } aria-hidden="true" {
            polyline points=(points.trim_end()) {}
            circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2" {}
        }
    }
}

/// A number with three digits, such as `0.123`, `12.3` or `1,230`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        _ if size >= 99.95 || value == 0.0 => format!("{value:.0}"),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    if digits.contains('.') || digits.len() < 4 {
        return text;
    }
    let first = digits.len() % 3;
    let mut grouped = digits.get(..first).unwrap_or_default().to_owned();
    for (at, digit) in digits.chars().skip(first).enumerate() {
        if at % 3 == 0 && !grouped.is_empty() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let shown = |value| number(value);
        assert_eq!(
            [0.0, 0.012_34, 1.234, 12.34, 123.4, 999.9, 1_234.5, 1_234_567.0, -1_234.0].map(shown),
            ["0", "0.012", "1.23", "12.3", "123", "1,000", "1,234", "1,234,567", "-1,234"]
        );
    }

    #[test]
    fn charts_stay_inside_their_frame() {
        for values in [&[0.0, 0.0][..], &[1.0, f64::MAX], &[f64::NAN, 2.0], &[-5.0, 5.0]] {
            let line = sparkline(values).into_string();
            let points = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            for pair in points.split(' ') {
                let (x, y) = pair.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((0.0..=120.0).contains(&x) && (0.0..=24.0).contains(&y), "{values:?}: {pair}");
            }
        }
        assert!(bar(5.0, 0.0, "rate").into_string().contains("width=\"0.0\""));
        assert!(bar(5.0, 2.0, "rate").into_string().contains("width=\"100.0\""));
    }
}
