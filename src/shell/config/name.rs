//! Addresses, names and keys that have a syntax of their own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::{Complaint, quote};
use crate::types::{Digest, PartyId};

/// Where a partner's gateway listens: a DNS name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A DNS name in lower case, or an IP address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// `host:port`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Endpoint {
    pub(super) fn read(text: &str) -> Result<Self, Complaint> {
        let wrong = || {
            Complaint::new(
                format!("{} is not an address", quote(text)),
                "give host:port, such as gateway.example:8443 or 192.0.2.7:8443",
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(inner) => inner.filter(|host| host.parse::<Ipv6Addr>().is_ok()).ok_or_else(wrong)?,
            None if host.parse::<Ipv4Addr>().is_ok() || is_dns_name(host) => host,
            None => return Err(wrong()),
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

/// A DNS name of letters, digits and inner hyphens (RFC 1123, section 2.1). A last label of digits only would be a
/// mistyped IP address, and is none.
pub(super) fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let numeric_end = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && !numeric_end
}

/// A subject alternative name that a partner's certificate may carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SanName {
    /// A SPIFFE id, compared as the exact text: `spiffe://wessex.example/gateway`.
    Uri(String),
    /// A DNS name, written `dns:NAME`, held in lower case and without wildcard.
    Dns(String),
}

impl SanName {
    /// What a party's gateway is called unless its entry says otherwise: `spiffe://<party>/gateway`.
    pub fn gateway(party: &PartyId) -> Self {
        Self::Uri(format!("spiffe://{party}/gateway"))
    }

    /// The trust domain of a SPIFFE id.
    pub fn trust_domain(&self) -> Option<&str> {
        match self {
            Self::Uri(uri) => uri.strip_prefix("spiffe://")?.split('/').next(),
            Self::Dns(_) => None,
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, Complaint> {
        let wrong = |what: &str| {
            Complaint::new(
                format!("{} is not a certificate name: {what}", quote(text)),
                "give spiffe://TRUST-DOMAIN/PATH or dns:NAME, exactly as the certificate has it",
            )
        };
        if let Some(name) = text.strip_prefix("dns:") {
            if !is_dns_name(name) {
                return Err(wrong("after dns: comes one DNS name, without wildcard"));
            }
            return Ok(Self::Dns(name.to_ascii_lowercase()));
        }
        let Some(rest) = text.strip_prefix("spiffe://") else {
            return Err(wrong("it starts with neither spiffe:// nor dns:"));
        };
        // SPIFFE-ID, sections 2.1 and 2.2: lower-case trust domain, non-empty path segments, none of them relative.
        let (domain, path) = rest.split_once('/').ok_or_else(|| wrong("it has no path"))?;
        let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if domain.is_empty() || !domain.bytes().all(in_domain) {
            return Err(wrong("its trust domain is not lower-case letters, digits, '.', '-' and '_'"));
        }
        let in_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(in_path);
        if !path.split('/').all(segment) || text.len() > 2048 {
            return Err(wrong("its path is not segments of letters, digits, '.', '-' and '_'"));
        }
        Ok(Self::Uri(text.to_owned()))
    }
}

impl fmt::Display for SanName {
    /// As the configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => f.write_str(uri),
            Self::Dns(name) => write!(f, "dns:{name}"),
        }
    }
}

/// A data service behind this gateway, reached by plain HTTP on a network that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// A DNS name in lower case or an IP address, and a port (80 unless given).
    pub endpoint: Endpoint,
    /// The path under which the dataset lies: empty, or starting with `/` and not ending with one.
    pub path: String,
}

/// Endings of names that never leave a private network (RFC 6761, 6762, 8375; `internal` is reserved by ICANN).
const PRIVATE_NAMES: [&str; 5] = [".localhost", ".local", ".internal", ".home.arpa", ".svc"];

impl Upstream {
    pub(super) fn read(text: &str) -> Result<Self, Complaint> {
        let wrong = |what: String, fix: &str| Complaint::new(format!("{} {what}", quote(text)), fix);
        let shape = "give http://HOST[:PORT][/PATH] of a data service on this machine or a private network";
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(wrong("is not an upstream: only scheme http is spoken behind the gateway".into(), shape));
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let in_path = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&b);
        let relative = |part: &str| matches!(part, "." | "..");
        let path = path.strip_suffix('/').unwrap_or(path);
        let empty_segment = path.split('/').skip(1).any(str::is_empty);
        if !path.bytes().all(in_path) || path.split('/').any(relative) || empty_segment {
            let what = "has a path with a query, an escape, an empty or a relative segment";
            return Err(wrong(what.into(), shape));
        }
        let bare = !authority.contains(':') || authority.ends_with(']');
        let with_port = if bare { format!("{authority}:80") } else { authority.to_owned() };
        let endpoint = Endpoint::read(&with_port)
            .map_err(|_| wrong(format!("names no host: {} is not HOST or HOST:PORT", quote(authority)), shape))?;
        if !is_private(&endpoint.host) {
            return Err(wrong(
                format!("would carry data in the clear to {}, which is not private", endpoint.host),
                "name a loopback or private address, a one-label name, or a name under .internal, .local or .svc",
            ));
        }
        Ok(Self { endpoint, path: path.to_owned() })
    }
}

impl fmt::Display for Upstream {
    /// As a URL without a final slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.endpoint, self.path)
    }
}

/// Whether plain HTTP to this host stays on a network of ours, as far as a name or address can tell.
pub(super) fn is_private(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        // A one-label name is a host file's, a container network's or a Kubernetes service's.
        Err(_) => {
            !host.contains('.')
                || host.ends_with(".svc.cluster.local")
                || PRIVATE_NAMES.iter().any(|end| host.ends_with(end))
        }
    }
}

/// Checks a log's verifier key, `NAME+HEXKEYID+BASE64` (C2SP signed-note), for an Ed25519 key and a matching id.
pub(super) fn verifier_key(text: &str) -> Result<String, Complaint> {
    vkey(text, 0x01, "a log's", "copy the one line of the partner's log.pub: NAME+KEYID+KEY")
}

/// The same for a witness's key (C2SP tlog-cosignature).
pub(super) fn witness_key(text: &str) -> Result<String, Complaint> {
    let fix = "copy witness.key of the partner's /.well-known/sekisho: NAME+KEYID+KEY";
    vkey(text, 0x04, "a witness's", fix)
}

fn vkey(text: &str, kind: u8, whose: &str, fix: &str) -> Result<String, Complaint> {
    let wrong = |what: &str| Complaint::new(format!("{} is not {whose} verifier key: {what}", quote(text)), fix);
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong("it does not have three parts joined by +"));
    };
    if name.is_empty() || name.chars().any(char::is_whitespace) {
        return Err(wrong("its name is empty or holds a space"));
    }
    let key = STANDARD.decode(key).map_err(|_| wrong("its third part is not base64"))?;
    if key.len() != 33 || key[0] != kind {
        return Err(wrong(&format!("its third part is not an Ed25519 key of this kind ({kind:#04x} and 32 bytes)")));
    }
    let mut named = format!("{name}\n").into_bytes();
    named.extend_from_slice(&key);
    if Digest::of(&named).hex()[..8] != *id {
        return Err(wrong("its key id does not belong to this name and key"));
    }
    Ok(text.to_owned())
}

/// Checks a country: one of the codes assigned in ISO 3166-1, in capitals.
pub(super) fn country(text: &str) -> Result<String, Complaint> {
    if COUNTRIES.split(' ').any(|code| code == text) && text.len() == 2 {
        return Ok(text.to_owned());
    }
    let upper = text.to_ascii_uppercase();
    let fix = match upper.as_str() {
        "UK" => "the United Kingdom is GB".to_owned(),
        "EL" => "Greece is GR".to_owned(),
        "EU" => "name the member state".to_owned(),
        _ if COUNTRIES.split(' ').any(|code| code == upper) => format!("write {upper} in capitals"),
        _ => "give two capital letters, such as JP or GB".to_owned(),
    };
    Err(Complaint::new(format!("{} is not a country of ISO 3166-1 alpha-2", quote(text)), fix))
}

/// The codes assigned in ISO 3166-1 alpha-2, 249 of them.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
    BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH \
    ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT \
    HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS \
    LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI \
    NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG \
    SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG \
    UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Reads a value that has a grammar of its own among the shared names.
pub(super) fn parsed<T>(text: &str, example: &'static str) -> Result<T, Complaint>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    text.parse().map_err(|error: T::Err| Complaint::new(error.to_string(), format!("write it like {example}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: fmt::Display>(read: impl Fn(&str) -> Result<T, Complaint>, good: &[&str], bad: &[&str]) {
        for text in good {
            match read(text) {
                Ok(value) => assert_eq!(value.to_string(), *text),
                Err(complaint) => panic!("{text} is refused: {}", complaint.what),
            }
        }
        for text in bad {
            assert!(read(text).is_err(), "{text} is taken");
        }
    }

    #[test]
    fn endpoints_name_one_host_and_port() {
        check(
            Endpoint::read,
            &["gateway.example:8443", "127.0.0.1:1", "[2001:db8::7]:8443", "localhost:65535"],
            &[
                "",
                "gateway.example",
                "a:0",
                "a:65536",
                ":1",
                "2001:db8::7:1",
                "[a]:1",
                "256.0.0.1:1",
                "a b:1",
                "http://a:1",
            ],
        );
    }

    #[test]
    fn certificate_names_are_exact() {
        check(
            SanName::read,
            &["spiffe://a.example/gateway", "dns:gateway.a.example", "spiffe://a/ns/b/sa/c"],
            &[
                "",
                "a.example",
                "dns:*.a.example",
                "spiffe://A/x",
                "spiffe://a",
                "spiffe://a/",
                "spiffe://a/../b",
                "https://a/x",
            ],
        );
    }

    #[test]
    fn upstreams_stay_on_private_networks() {
        check(
            Upstream::read,
            &[
                "http://127.0.0.1:9000/a",
                "http://10.1.2.3:80",
                "http://[::1]:9000/a/b",
                "http://data:80/x",
                "http://a.b.svc:80",
            ],
            &[
                "https://127.0.0.1/a",
                "http://8.8.8.8/a",
                "http://example.com/a",
                "http://u@127.0.0.1/",
                "http://127.0.0.1/a?b",
                "http://127.0.0.1/a/../b",
                "http://127.0.0.1//a",
                "http:///a",
                "http://127.0.0.1/%2e",
                "127.0.0.1:9000",
            ],
        );
        assert_eq!(
            Upstream::read("http://localhost/a/").map(|u| u.to_string()).ok().as_deref(),
            Some("http://localhost:80/a")
        );
    }

    #[test]
    fn countries_are_those_assigned() {
        check(country, &["JP", "GB", "ZW", "AD"], &["", "UK", "jp", "J", "JP ", "XX", "D A", "AD AE"]);
        assert_eq!(COUNTRIES.split(' ').count(), 249);
    }

    #[test]
    fn verifier_keys_carry_the_id_of_their_key() {
        // From the C2SP signed-note specification's example.
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        check(
            verifier_key,
            &[key],
            &["", "a+b", &key.replace("c74f", "c74e"), &key.replace("+AR", "+AB"), &key.replace('P', "p")],
        );
    }
}
