//! Sentences whose numbers are no identifiers that a detector names: values, doses, codes, scores, numbers of other kinds.

use super::Random;

/// Numbers are written `{LOW-HIGH}`; letters around them stay.
const TEMPLATES: [&str; 81] = [
    "BP {90-190}/{50-110}, HR {50-130}, RR {12-28}, SpO2 {88-100}% on RA.",
    "Temp {97-103}.{0-9} F, weight {90-280} lb.",
    "Na {130-149}, K {3-5}.{0-9}, Cl {95-110}, CO2 {20-30}, BUN {8-40}, Cr {0-3}.{10-99}.",
    "WBC {4-19}.{0-9}, Hgb {8-16}.{0-9}, Hct {28-48}, platelets {100-450}.",
    "platelets {100000-450000}, WBC {4000-12000}",
    "Glucose {70-320} mg/dL, A1c {5-12}.{0-9}%.",
    "Take {1-3} tablets of metformin {500-1000} mg {1-3} times a day.",
    "Lisinopril {5-40} mg daily; may {2-9} be increased.",
    "insulin {4-40} units at bedtime, {1-4}/2 dose if NPO",
    "Heparin {5000-25000} units in {250-500} mL D5W.",
    "{1-9}/10 pain in the left knee.",
    "pain {1-9}/10, was {1-9}/10 yesterday",
    "GCS {3-15}/15, MMSE {10-30}/30.",
    "strength {3-5}/5 throughout, reflexes {1-3}+.",
    "vision 20/{20-200} OD, 20/{20-200} OS",
    "EF {20-65}-{66-75}%, LVEDP {8-30}.",
    "ICD-10 E{10-14}.{0-9}, I{10-25}.{0-9}, Z{79-99}.{0-9}.",
    "CPT {99201-99499} billed with modifier {22-99}.",
    "LOINC {1000-99999}-{0-9} result pending.",
    "SNOMED {10000000-99999999} disorder.",
    "SNOMED CT {100000000-999999999} mapped",
    "NDC {10000-99999}-{100-999}-{10-99} dispensed.",
    "RxNorm {100000-999999}.",
    "room {100-999}, bed {1-4}, floor {1-12}",
    "Room {1000-9999}B, ext. {1000-9999}.",
    "ext {10000-99999} for the ward",
    "pager extension {1000-9999}, ask for the charge nurse",
    "MRN {1000000-9999999} reviewed.",
    "MRN {100000000-999999999}.",
    "MRN: {1000000000-2999999999}",
    "account {100000000-999999999} is settled",
    "acct # {1000000000-9999999999}",
    "Order {10000000-99999999} placed.",
    "accession {2015-2025}-{10000-99999}.",
    "accession number {1000000000-2999999999}",
    "specimen S{15-25}-{1000-99999}",
    "encounter {1000000000-2999999999} closed.",
    "lot {100000-999999}, expires {2025-2030}",
    "Serial {1000000000-2999999999} of the pump.",
    "software version {1-9}.{0-20}.{0-20}.{0-99} installed",
    "firmware v{1-9}.{0-20}.{0-20}",
    "Epic {2018-2025}, build {10000-99999}",
    "diagnosed in {1980-2024}, treated {1990-2000}-{2001-2024}",
    "in {1990-2024} he moved away",
    "fiscal year {2010-2024}",
    "a {1-89}-year-old woman",
    "{18-89} yo M with cough",
    "aged {20-89}, lives alone",
    "smoked for {10-50} years, {1-3} packs a day",
    "sats in the {80-99} range, PaO2 {60-100}",
    "HR in the 90s overnight",
    "weight {90-125} kg, height {150-200} cm",
    "{90-125} mL of urine in {1-8} hours",
    "lesion {1-9}.{0-9} x {1-9}.{0-9} x {1-9}.{0-9} cm",
    "seen at {1-12}:{10-59} by the team of {2-9}",
    "From {7-9}:{10-59} to {10-12}:{10-59}.",
    "{100-999} mL/{1-24} h, rate {60-150}",
    "T{1-12}-L{1-5} fusion, C{3-7}/C{3-7} disc",
    "grade {1-4}/6 murmur, S{1-4}",
    "stage {1-4}, T{1-4}N{0-3}M0, Gleason {3-5}+{3-5}",
    "study {100-999}-{100-999} arm {1-4}",
    "protocol {1000-9999}-{10-99}, cycle {1-8} day {1-21}",
    "call the nurse at {1-12} o'clock",
    "phone screen took {10-59} minutes, score {5-27}",
    "@ the clinic {2-9} times, q{4-12}h",
    "ratio {1-9}:{10-99}, note: {1-5} of {6-9}",
    "ABG 7.{20-50}/{30-60}/{60-100}/{18-30}",
    "pH 7.{20-50}, pCO2 {30-60}, lactate {0-9}.{0-9}",
    "device {10-99}-{1000-9999}-{100-999} checked",
    "claim {1000000000000000-9999999999999999} denied",
    "tracking {100000000000-999999999999}",
    "Questionnaire items {1-9}, {10-19}, {20-29} and {30-39}; total {100-299} {10-99} {1000-2999}.",
    "batch AB{1000000-9999999} opened",
    "wristband {1000000000-2999999999} scanned",
    "reorder {200-999}-{200-999}-{1000-9999} (catheter)",
    "on {1-12}/{10-28} of the visits he was late",
    "kit {10000-99999}-{1000-9999} used",
    "step {1-9}.{1-9}.{1-9}.{1-9} of the pathway",
    "asset tag {4000000000000000-4999999999999999}",
    "pump key {1-9}EG{1-9}TE{1-9}MK{10-99}",
    "slide {1-12}-{1-28}-{10-24}, block {1-9}",
];

pub(super) fn negative(random: &mut Random) -> String {
    let mut text = String::new();
    for part in random.one(&TEMPLATES).split('{') {
        match part.split_once('}') {
            Some((range, rest)) => {
                let (low, high) = range.split_once('-').expect("a range");
                let end = |bound: &str| bound.parse().expect("a number");
                text.push_str(&random.number(end(low), end(high)).to_string());
                text.push_str(rest);
            }
            None => text.push_str(part),
        }
    }
    text
}
