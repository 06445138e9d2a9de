//! Geometric types, bits, hardware addresses and log positions, as the text that the server shows.

use std::fmt::Write as _;

use super::fields::Fields;

pub(super) fn shape(name: &str, bytes: &[u8]) -> Option<String> {
    let mut fields = Fields(bytes);
    let text = match name {
        "point" => point(&mut fields)?,
        "lseg" => format!("[{},{}]", point(&mut fields)?, point(&mut fields)?),
        "box" => format!("{},{}", point(&mut fields)?, point(&mut fields)?),
        "line" => format!("{{{},{},{}}}", fields.f64()?, fields.f64()?, fields.f64()?),
        "circle" => format!("<{},{}>", point(&mut fields)?, fields.f64()?),
        "polygon" => format!("({})", points(&mut fields)?),
        "path" if fields.u8()? != 0 => format!("({})", points(&mut fields)?),
        "path" => format!("[{}]", points(&mut fields)?),
        "bit" | "varbit" => bits(&mut fields)?,
        "macaddr" | "macaddr8" => {
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return Some(pairs.join(":"));
        }
        "pg_lsn" => format!("{:X}/{:X}", fields.u32()?, fields.u32()?),
        "tid" => format!("({},{})", fields.u32()?, fields.u16()?),
        _ => return None,
    };
    fields.is_at_end().then_some(text)
}

fn point(fields: &mut Fields<'_>) -> Option<String> {
    Some(format!("({},{})", fields.f64()?, fields.f64()?))
}

fn points(fields: &mut Fields<'_>) -> Option<String> {
    let count = fields.length()?;
    let mut points = Vec::new();
    for _ in 0..count {
        points.push(point(fields)?);
    }
    Some(points.join(","))
}

fn bits(fields: &mut Fields<'_>) -> Option<String> {
    let count = fields.length()?;
    let mut text = String::new();
    while !fields.is_at_end() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:08b}", fields.u8()?);
    }
    text.truncate(count);
    (text.len() == count).then_some(text)
}
