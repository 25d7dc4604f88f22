//! Quantities of Kubernetes, read exactly. Pure.
//!
//! Source: `k8s.io/apimachinery/pkg/api/resource`, "Quantity".

/// Maximum number of digits of a number; more than any quantity of a node or a pod has, and few enough for exact integers.
const MAX_DIGITS: usize = 18;

/// The quantity in thousandths, such as 500 for `500m`; a smaller part is rounded up, as Kubernetes does.
///
/// The grammar is `<sign><digits>[.<digits>]<suffix>`, where the suffix is one of `n`, `u`, `m`, nothing, `k`, `M`, `G`,
/// `T`, `P`, `E`, `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`, or a decimal exponent such as `e3` and `E-2`. `None` for anything
/// else, and for more than 18 digits.
#[must_use]
pub fn thousandths(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: i128 = digits.parse().ok()?;
    let fraction = u32::try_from(fraction.len()).ok()?;
    let size = match suffix {
        "Ki" => scaled(digits, 1 << 10, 3, fraction),
        "Mi" => scaled(digits, 1 << 20, 3, fraction),
        "Gi" => scaled(digits, 1 << 30, 3, fraction),
        "Ti" => scaled(digits, 1 << 40, 3, fraction),
        "Pi" => scaled(digits, 1 << 50, 3, fraction),
        "Ei" => scaled(digits, 1 << 60, 3, fraction),
        decimal => scaled(digits, 1, exponent(decimal)? + 3, fraction),
    }?;
    Some(if negative { -size } else { size })
}

/// The power of ten that a decimal suffix stands for.
fn exponent(suffix: &str) -> Option<i32> {
    Some(match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-18..=18).contains(&power).then_some(power)?
        }
    })
}

/// `digits * factor * 10^power / 10^fraction`, rounded up.
fn scaled(digits: i128, factor: i128, power: i32, fraction: u32) -> Option<i128> {
    let power = power.checked_sub_unsigned(fraction)?;
    let ten = 10_i128.checked_pow(power.unsigned_abs())?;
    let size = digits.checked_mul(factor)?;
    if power >= 0 { size.checked_mul(ten) } else { Some(size / ten + i128::from(size % ten > 0)) }
}

#[cfg(test)]
mod tests {
    use super::thousandths;

    /// Forms of Kubernetes' own table, `quantity_test.go`.
    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, wanted) in [
            ("0", 0),
            ("500m", 500),
            ("2", 2_000),
            ("1.5", 1_500),
            (".5", 500),
            ("1.", 1_000),
            ("+2", 2_000),
            ("-500m", -500),
            ("1k", 1_000_000),
            ("1M", 1_000_000_000),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("1Pi", (1 << 50) * 1_000),
            ("1Ei", (1 << 60) * 1_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("3P", 3_000_000_000_000_000_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("12e-1", 1_200),
            ("250000000n", 250),
            ("250000u", 250),
            ("1n", 1),
            ("1001u", 2),
            ("128974848", 128_974_848_000),
        ] {
            assert_eq!(thousandths(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_quantity_is_refused() {
        for text in
            ["", ".", "-", "x", "1x", "1 Gi", "1Kib", "1mi", "1.2.3", "1e", "1e99", "e3", "--1", "1234567890123456789"]
        {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
