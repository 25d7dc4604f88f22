//! Small charts of one series: a line of block characters for terminals, an SVG for reports.

use std::fmt::Write;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One character for each value; a space for NaN. The scale begins at zero.
#[must_use]
pub fn text(values: &[f64]) -> String {
    let top = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let block = |value: &f64| {
        if !value.is_finite() {
            return ' ';
        }
        if top <= 0.0 {
            return BLOCKS[0];
        }
        let step = (value.max(0.0) / top * 7.0).round();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "step is 0 to 7")]
        let index = (step as usize).min(7);
        BLOCKS[index]
    };
    values.iter().map(block).collect()
}

/// An SVG of `width` × `height` pixels. Gaps (NaN) interrupt the line. `title` is escaped.
#[must_use]
pub fn svg(title: &str, points: &[(f64, f64)], width: u32, height: u32) -> String {
    let finite = points.iter().filter(|(_, value)| value.is_finite());
    let top = finite.map(|(_, value)| *value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let (first, last) = match (points.first(), points.last()) {
        (Some((first, _)), Some((last, _))) if last > first => (*first, *last),
        (Some((first, _)), _) => (*first, *first + 1.0),
        _ => (0.0, 1.0),
    };
    let mut path = String::new();
    let mut pen_down = false;
    for (time, value) in points {
        if !value.is_finite() {
            pen_down = false;
            continue;
        }
        let x = (time - first) / (last - first) * f64::from(width);
        let y = f64::from(height) - value.max(0.0) / top * f64::from(height);
        let command = if pen_down { 'L' } else { 'M' };
        // Writing into a String does not fail.
        let _ = write!(path, "{command}{x:.1} {y:.1}");
        pen_down = true;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\"><title>{}</title><path d=\"{path}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\"/></svg>",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_character_for_each_value() {
        assert_eq!(text(&[0.0, 1.0, f64::NAN, 2.0]), "▁▅ █");
        assert_eq!(text(&[0.0, 0.0]), "▁▁");
        assert_eq!(text(&[f64::INFINITY, -1.0, 1.0]), " ▁█");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn svg_escapes_its_title_and_breaks_at_gaps() {
        let svg = svg("<a&\"b\">", &[(0.0, 1.0), (1.0, f64::NAN), (2.0, 2.0)], 100, 20);
        assert!(svg.contains("&lt;a&amp;&quot;b&quot;&gt;") && svg.matches('M').count() == 2, "{svg}");
    }
}
