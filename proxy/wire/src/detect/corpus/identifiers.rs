//! The shapes of the identifiers, with what stands before and behind them.

use super::checked::{card, dea, mbi, npi, vin};
use super::{Kind, Random};

/// What stands before an identifier, it, and what stands behind it.
type Parts = (String, String, String);
/// What stands before an identifier, and it.
pub(super) type Led = (String, String);

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const TAILS: [&str; 8] = [
    ".",
    ", per chart.",
    " today.",
    " (confirmed)",
    "; see note.",
    "\n",
    " and counting.",
    " - verified.",
];

pub(super) fn identifier(kind: Kind, random: &mut Random) -> Parts {
    let (lead, identifier) = match kind {
        Kind::Ssn => ssn(random),
        Kind::Phone => phone(random),
        Kind::Fax => fax(random),
        Kind::Email => email(random),
        Kind::Url => url(random),
        Kind::Ip => ip(random),
        Kind::Date => date(random),
        Kind::AgeOver89 => return age(random),
        Kind::Zip => zip(random),
        Kind::Mbi => mbi(random),
        Kind::Npi => npi(random),
        Kind::Dea => dea(random),
        Kind::Vin => vin(random),
        Kind::Card => card(random),
    };
    let tail = random.one(&TAILS).to_owned();
    (lead, identifier, tail)
}

/// One lead in twelve is a plain one, that tells nothing.
pub(super) fn lead(random: &mut Random, leads: &[&str]) -> String {
    let plain = ["Noted ", "Chart says ", "Reports ", "(", "per family "];
    let from: &[&str] = if random.once_in(12) { &plain } else { leads };
    random.one(from).to_owned()
}

/// A text as it gets by way of word processors, scanners and other keyboards; six in seven stay.
pub(super) fn disguised(random: &mut Random, text: String) -> String {
    match random.number(0, 20) {
        0 => text.replace('-', random.one(&["\u{2011}", "–", "−", "—", "－"])),
        1 => text.replace(' ', random.one(&["\u{a0}", "\u{202f}", "\u{2009}"])),
        2 => text
            .chars()
            .map(|c| {
                if c.is_ascii_digit() {
                    char::from_u32(u32::from(c) + 0xFEE0).expect("a digit")
                } else {
                    c
                }
            })
            .collect(),
        _ => text,
    }
}

fn ssn(random: &mut Random) -> Led {
    let area = loop {
        let area = random.number(1, 899);
        if area != 666 {
            break area;
        }
    };
    let (group, serial) = (random.number(1, 99), random.number(1, 9999));
    let separator = random.one(&["-", "-", "-", "-", " ", ".", " - ", ""]);
    let leads = [
        "SSN ",
        "SSN: ",
        "ssn#",
        "Social Security number ",
        "social security no. is ",
        "SS# ",
        "Pt's SSN is ",
    ];
    let ssn = format!("{area:03}{separator}{group:02}{separator}{serial:04}");
    (lead(random, &leads), disguised(random, ssn))
}

fn telephone(random: &mut Random) -> String {
    let code = |random: &mut Random| loop {
        let code = random.number(200, 999);
        if code % 100 != 11 && (code / 10) % 10 != 9 {
            return code;
        }
    };
    let (a, b, c) = (code(random), code(random), random.number(0, 9999));
    let number = match random.number(0, 11) {
        0..=3 => format!("{a}-{b}-{c:04}"),
        4..=6 => format!("({a}) {b}-{c:04}"),
        7 => format!("{a}.{b}.{c:04}"),
        8 => format!("+1 {a} {b} {c:04}"),
        9 => format!("1-{a}-{b}-{c:04}"),
        10 => format!("{a} {b} {c:04}"),
        _ => format!("{a}{b}{c:04}"),
    };
    let extension = if random.once_in(8) {
        format!(" ext. {}", random.number(10, 9999))
    } else {
        String::new()
    };
    disguised(random, number) + &extension
}

fn phone(random: &mut Random) -> Led {
    let leads = [
        "Call ",
        "Phone: ",
        "tel ",
        "cell ",
        "Daughter at ",
        "reach her on ",
        "Contact: ",
        "mobile no. ",
        "callback ",
        "Pharmacy ",
    ];
    let lead = lead(random, &leads);
    let number = match random.number(0, 19) {
        0 => format!("+44 20 7946 {:04}", random.number(0, 9999)),
        1 => format!("{}-{:04}", random.number(222, 899), random.number(0, 9999)),
        2 => format!("1-800-{}", random.one(&["DOCTORS", "FLOWERS", "GET-WELL"])),
        _ => telephone(random),
    };
    (lead, number)
}

fn fax(random: &mut Random) -> Led {
    let leads = [
        "Fax: ",
        "fax ",
        "Faxed to ",
        "facsimile ",
        "FAX # ",
        "records faxed at ",
    ];
    (random.one(&leads).to_owned(), telephone(random))
}

fn email(random: &mut Random) -> Led {
    let name = random.one(&[
        "jane.doe",
        "m_ortiz",
        "k.lee+lab",
        "drsmith",
        "josé",
        "o'neil",
        "patient77",
        "anna-maria",
    ]);
    let domain = random.one(&[
        "example.com",
        "clinic.example.org",
        "mail.example.co.uk",
        "hospital.test",
        "uni-klinik.example",
    ]);
    let email = match random.number(0, 19) {
        0 => format!(
            "{name} at {} dot com",
            domain.split('.').next().unwrap_or_default()
        ),
        1 => format!("{name}＠{domain}"),
        2 => format!("{name} @ {domain}"),
        3 => format!("{name}@{domain}").to_uppercase(),
        _ => format!("{name}@{domain}"),
    };
    (
        lead(
            random,
            &["Email: ", "write to ", "portal login ", "mailto:", "cc "],
        ),
        email,
    )
}

fn url(random: &mut Random) -> Led {
    let host = random.one(&[
        "portal.example.org",
        "my-clinic.example",
        "example.com",
        "10.1.2.3",
        "img.example.net:8443",
    ]);
    let path = match random.number(0, 3) {
        0 => String::new(),
        1 => format!("/patients/{}", random.digits(6)),
        2 => format!(
            "/v/{}?id={}&d=2024-03-12",
            random.digits(4),
            random.digits(5)
        ),
        _ => "/~jdoe/baby_photos.html#first".to_owned(),
    };
    let url = match random.number(0, 9) {
        0 => format!("www.example.org{path}"),
        1 => format!("HTTP://{host}{path}"),
        2 => format!("example.org{path}"),
        3 => format!("ftp://{host}{path}"),
        _ => format!("https://{host}{path}"),
    };
    (
        lead(
            random,
            &["See ", "images at ", "blog: ", "link <", "posted on "],
        ),
        url,
    )
}

fn ip(random: &mut Random) -> Led {
    let ip = match random.number(0, 5) {
        0 => format!(
            "2001:db8::{:x}:{:x}",
            random.number(1, 65535),
            random.number(4096, 65535)
        ),
        1 => format!("fe80::{:x}", random.number(1, 0x9FFF)),
        2 => format!(
            "2001:db8:{:x}:0:0:0:0:{:x}",
            random.number(0, 9),
            random.number(1, 99)
        ),
        _ => format!(
            "{}.{}.{}.{}",
            random.number(1, 223),
            random.number(0, 255),
            random.number(0, 255),
            random.number(1, 254)
        ),
    };
    (
        lead(
            random,
            &[
                "Login from ",
                "device IP ",
                "telehealth client ",
                "host ",
                "addr=",
            ],
        ),
        ip,
    )
}

fn date(random: &mut Random) -> Led {
    let (year, month, day) = (
        random.number(1925, 2025),
        random.number(1, 12),
        random.number(1, 28),
    );
    let name = MONTHS[usize::try_from(month - 1).expect("a month")];
    let short = name.get(..3).unwrap_or(name);
    let leads = [
        "Admitted ",
        "Seen on ",
        "DOB ",
        "DOB: ",
        "Surgery ",
        "since ",
        "discharged ",
        "Last visit ",
        "MI in ",
        "follow-up on ",
    ];
    let date = match random.number(0, 21) {
        0..=2 => format!("{month}/{day}/{year}"),
        3 | 4 => format!("{month:02}/{day:02}/{year}"),
        5 | 6 => format!("{year}-{month:02}-{day:02}"),
        7 => format!(
            "{year}-{month:02}-{day:02}T{:02}:15:00Z",
            random.number(0, 23)
        ),
        8 => format!("{month}/{day}/{:02}", year % 100),
        9 => format!("{month}-{day}-{year}"),
        10 => format!("{day}.{month}.{year}"),
        11 => format!("{name} {day}, {year}"),
        12 => format!("{name} {day}"),
        13 => format!("{short} {day}, {year}"),
        14 => format!("{day} {name} {year}"),
        15 => format!("{day:02}-{}-{year}", short.to_uppercase()),
        16 => format!("{name} {year}"),
        17 => format!("{month}/{day}"),
        18 => format!("{name} {day}th"),
        19 => format!("{year}{month:02}{day:02}"),
        20 => format!("{month:02}/{year}"),
        _ => format!("the {} of {name}", random.one(&["third", "ninth", "last"])),
    };
    (lead(random, &leads), disguised(random, date))
}

fn age(random: &mut Random) -> Parts {
    let age = random.number(90, 107);
    let (lead, age, tail) = match random.number(0, 13) {
        0..=3 => ("A ", age.to_string(), "-year-old woman with CHF."),
        4 | 5 => ("Pt is a ", age.to_string(), " year old male."),
        6 => ("Pt ", age.to_string(), " yo F, frail."),
        7 => ("Mother, ", age.to_string(), " y/o, lives alone."),
        8 => ("Age: ", age.to_string(), "\nSex: F"),
        9 => ("Father died aged ", age.to_string(), "."),
        10 => ("She is ", age.to_string(), " years of age."),
        11 => ("Grandmother in her late ", "90".to_owned(), "s, well."),
        12 => ("She is ", age.to_string(), " and lives at home."),
        _ => ("A ", "ninety-two".to_owned(), "-year-old man."),
    };
    (lead.to_owned(), age, tail.to_owned())
}

fn zip(random: &mut Random) -> Led {
    let (place, prefix) = *random.one(&[
        &("Albany, NY ", 122),
        &("Chicago, IL ", 606),
        &("Austin TX ", 787),
        &("Boston, MA ", 21),
        &("Seattle, WA. ", 981),
        &("Portland, Oregon ", 972),
        &("Newark, New Jersey ", 71),
        &("Boise, ID ", 837),
        &("ZIP ", 331),
        &("zip code ", 402),
        &("Zip: ", 900),
        &("postal code ", 554),
        &("lives in Denver ", 802),
    ]);
    let zip = format!("{prefix:03}{:02}", random.number(1, 99));
    let zip = if random.once_in(4) {
        format!("{zip}-{:04}", random.number(1, 9999))
    } else {
        zip
    };
    (place.to_owned(), zip)
}
