//! Lists of revoked client certificates (RFC 5280, section 5).

use keyfall::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateRevocationListDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use webpki::BorrowedCertRevocationList;

/// Tags of what a list has before its end.
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

/// The lists of a file in PEM, each of which is in force.
///
/// # Errors
/// What is wrong with them, and what to do about it.
pub(crate) fn lists(
    pem: &[u8],
    now: Timestamp,
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let now = digits(now).ok_or("the clock of this machine is wrong; set it")?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let lists = lists.ok().filter(|lists| !lists.is_empty()).ok_or(
        "there is no list of revoked certificates in it; give those of the authorities, in PEM",
    )?;
    let mut issuers = Vec::new();
    for (n, list) in lists.iter().enumerate() {
        let n = n + 1;
        if let Err(e) = BorrowedCertRevocationList::from_der(list) {
            let remedy = "have it issued again, whole and of version 2";
            return Err(format!(
                "list {n} of revoked certificates cannot be read: {e:?}; {remedy}"
            ));
        }
        let end = next_update(list).ok_or(format!(
            "list {n} of revoked certificates does not say when the next one comes; have it issued \
             again with nextUpdate"
        ))?;
        if end <= now {
            return Err(format!(
                "list {n} of revoked certificates ended at {end} (UTC), and no certificate can be \
                 checked with it; get its authority's newest"
            ));
        }
        // The first of two would count, whichever is newer.
        let issuer = issuer(list);
        if issuers.contains(&issuer) {
            return Err(format!(
                "list {n} of revoked certificates is the second of one authority; keep its newest \
                 alone"
            ));
        }
        issuers.push(issuer);
    }
    Ok(lists)
}

/// A point in time as lists write it, with all digits of the year: `20261127090000`.
fn digits(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some(at.strftime("%Y%m%d%H%M%S").to_string())
}

/// The fields of a list, in their order, as far as they are DER.
fn fields(list: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let inside = |der| element(der).map(|((_, value), _)| value);
    let mut rest = inside(list).and_then(inside);
    std::iter::from_fn(move || {
        let (field, after) = element(rest?)?;
        rest = Some(after);
        Some(field)
    })
}

/// Whose list it is: its second sequence, after version and algorithm.
fn issuer(list: &[u8]) -> Option<&[u8]> {
    fields(list).filter(|(tag, _)| *tag == SEQUENCE).nth(1).map(|(_, value)| value)
}

/// When a list counts no more: its second time, after version, algorithm, issuer and first time.
fn next_update(list: &[u8]) -> Option<String> {
    const TIMES: [u8; 2] = [UTC_TIME, GENERALIZED_TIME];
    let known = |(tag, _): &Element<'_>| [INTEGER, SEQUENCE].contains(tag) || TIMES.contains(tag);
    let mut times = fields(list).take_while(known).filter(|(tag, _)| TIMES.contains(tag));
    let (tag, value) = times.nth(1)?;
    time(tag, value)
}

/// A time with all digits of its year.
fn time(tag: u8, value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // RFC 5280, 5.1.2.4: years from 1950 to 2049.
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        _ => text.to_owned(),
    };
    let is_one = text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit());
    is_one.then_some(text)
}

/// A tag with its value.
type Element<'d> = (u8, &'d [u8]);

/// The first element of DER, and what comes after it.
fn element(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some(((tag, value), rest))
}
