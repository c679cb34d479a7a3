//! Made-up test records in the shape of a hospital's COVID-19 testing table. Nobody in them exists.

/// One record, field by field as it stands in the table.
#[derive(Debug, Clone)]
pub struct Record {
    pub subject: String,
    pub first: String,
    pub last: String,
    pub sex: &'static str,
    pub day: u32,
    pub clinic: &'static str,
    pub result: &'static str,
    pub age: String,
    pub payor: &'static str,
}

pub const COLUMNS: &str =
    "subject_id,fake_first_name,fake_last_name,gender,pan_day,test_id,clinic_name,result,age,payor_group";

/// 480 records in 24 groups of 20 alike by sex, clinic and decade of age; then 7 of the very old, who are too few to
/// hide among each other. 200 people, so most were tested more than once.
pub fn records() -> Vec<Record> {
    let clinics = ["clinical lab", "emergency dept", "inpatient ward a"];
    let mut records: Vec<Record> = (0..480)
        .map(|i| Record {
            subject: (1000 + i % 200).to_string(),
            first: format!("first{}", i % 200),
            // Names that a careless reader of CSV stumbles over.
            last: if i % 50 == 3 { format!("o\"hara, the {i}th") } else { format!("last{}", i % 200) },
            sex: if i % 2 == 0 { "female" } else { "male" },
            day: 1 + i % 90,
            clinic: clinics[i as usize % 3],
            result: if i % 7 == 0 { "positive" } else { "negative" },
            age: if i % 5 == 0 { format!("{}.0", i % 40) } else { (i % 40).to_string() },
            payor: if i % 11 == 0 { "government" } else { "" },
        })
        .collect();
    let old = |i: u32| Record { subject: (1900 + i).to_string(), age: (90 + i).to_string(), ..records[0].clone() };
    let old: Vec<Record> = (0..7).map(old).collect();
    records.extend(old);
    records
}

/// The table as the hospital's system writes it: quotes where they must be, lines that end in CR LF.
pub fn table(records: &[Record]) -> String {
    let mut table = format!("{COLUMNS}\r\n");
    for r in records {
        let fields = [
            &r.subject,
            &r.first,
            &quoted(&r.last),
            r.sex,
            &r.day.to_string(),
            "covid",
            r.clinic,
            r.result,
            &r.age,
            r.payor,
        ];
        table.push_str(&fields.join(","));
        table.push_str("\r\n");
    }
    table
}

pub fn quoted(text: &str) -> String {
    if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
