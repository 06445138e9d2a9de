//! Values in the binary form in which the server sends them, as the text in which it would show them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use sqlx::error::BoxDynError;

/// Days and microseconds of the server's calendar beyond which chrono cannot count: 200,000 years.
const DAYS_MAX: i64 = 200_000 * 365;
const DAY_MICROS: i64 = 86_400_000_000;

/// `infinity` or `-infinity` for a date or timestamp that is infinite, or so far away that it might as well be; the
/// driver panics for these.
pub(super) fn unbounded(bytes: &[u8]) -> Result<Option<&'static str>, BoxDynError> {
    let days = match bytes.len() {
        4 => i64::from(i32::from_be_bytes(bytes.try_into()?)),
        _ => i64::from_be_bytes(bytes.try_into()?) / DAY_MICROS,
    };
    Ok(if days.abs() < DAYS_MAX {
        None
    } else if days < 0 {
        Some("-infinity")
    } else {
        Some("infinity")
    })
}

/// The usual text of a uuid: 8-4-4-4-12 hexadecimal digits.
pub(super) fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Groups of four decimal digits, the first with weight `weight`, and the number of digits shown after the point. As in
/// the server's `numeric_send`.
pub(super) fn numeric(bytes: &[u8]) -> Result<String, BoxDynError> {
    const POSITIVE: u16 = 0x0000;
    const NEGATIVE: u16 = 0x4000;
    let mut fields = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut next = || fields.next().ok_or("a numeric that ends too early");
    let (count, weight, sign, scale) = (next()?, next()?.cast_signed(), next()?, next()?);
    match sign {
        POSITIVE | NEGATIVE => {}
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        other => return Err(format!("a numeric with the sign {other:#06x}").into()),
    }
    let groups = (0..count).map(|_| next()).collect::<Result<Vec<u16>, _>>()?;
    let group = |weight_of: i32| {
        let index = i32::from(weight) - weight_of;
        usize::try_from(index).ok().and_then(|index| groups.get(index)).copied().unwrap_or(0)
    };
    let mut text = String::new();
    for weight_of in (0..=i32::from(weight).max(0)).rev() {
        let _ = write!(text, "{:04}", group(weight_of));
    }
    let whole = text.trim_start_matches('0');
    let mut text = if whole.is_empty() { "0".to_owned() } else { whole.to_owned() };
    if scale > 0 {
        let mut fraction = String::new();
        for place in 1..=i32::from(scale).div_euclid(4) + 1 {
            let _ = write!(fraction, "{:04}", group(-place));
        }
        fraction.truncate(usize::from(scale));
        text = format!("{text}.{fraction}");
    }
    Ok(if sign == NEGATIVE { format!("-{text}") } else { text })
}

/// ISO 8601, as the server shows an interval with `intervalstyle = iso_8601`.
pub(super) fn interval(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (micros, rest) = bytes.split_at_checked(8).ok_or("an interval that ends too early")?;
    let (days, months) = rest.split_at_checked(4).ok_or("an interval that ends too early")?;
    let micros = i64::from_be_bytes(micros.try_into()?);
    let (days, months) = (i32::from_be_bytes(days.try_into()?), i32::from_be_bytes(months.try_into()?));
    let mut text = String::from("P");
    for (number, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if number != 0 {
            let _ = write!(text, "{number}{unit}");
        }
    }
    if micros != 0 {
        text.push('T');
        let seconds = micros / 1_000_000;
        for (number, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
            if number != 0 {
                let _ = write!(text, "{number}{unit}");
            }
        }
        let within_minute = micros % 60_000_000;
        if within_minute != 0 {
            let sign = if within_minute < 0 { "-" } else { "" };
            let (whole, fraction) = (within_minute.abs() / 1_000_000, within_minute.abs() % 1_000_000);
            let shown = format!("{whole}.{fraction:06}");
            let _ = write!(text, "{sign}{}S", shown.trim_end_matches('0').trim_end_matches('.'));
        }
    }
    Ok(if text == "P" { "PT0S".to_owned() } else { text })
}

/// Hundredths of the server's currency unit; the server shows them with the signs of its locale.
pub(super) fn money(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let hundredths = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Seconds west of Greenwich, as the server shows a time zone.
pub(super) fn zone(seconds_west: i32) -> String {
    let sign = if seconds_west > 0 { '-' } else { '+' };
    let seconds = seconds_west.unsigned_abs();
    let mut text = format!("{sign}{:02}", seconds / 3600);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    if minutes != 0 || seconds != 0 {
        let _ = write!(text, ":{minutes:02}");
    }
    if seconds != 0 {
        let _ = write!(text, ":{seconds:02}");
    }
    text
}

/// Family, bits of the network, whether it is a network, length, address. As in the server's `network_send`.
pub(super) fn inet(bytes: &[u8]) -> Result<String, BoxDynError> {
    let [_, bits, is_network, _, address @ ..] = bytes else { return Err("an address that ends too early".into()) };
    let (address, all_bits) = match address.len() {
        4 => (Ipv4Addr::from(<[u8; 4]>::try_from(address)?).to_string(), 32),
        16 => (Ipv6Addr::from(<[u8; 16]>::try_from(address)?).to_string(), 128),
        length => return Err(format!("an address of {length} bytes").into()),
    };
    Ok(if *is_network == 0 && *bits == all_bits { address } else { format!("{address}/{bits}") })
}
