//! Values that serialized reports leave out, for `skip_serializing_if`.

/// Whether a number is 0.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires a reference")]
#[must_use]
pub const fn zero(number: &usize) -> bool {
    *number == 0
}
