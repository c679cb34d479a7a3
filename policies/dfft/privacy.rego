# Privacy: which law follows the person whose data this is, and what it asks for abroad.
package dfft

import data.dfft.facts

# METADATA
# title: "DFFT-P1: personal data from the EEA"
# description: >-
#   Personal data from the EEA leaves only under an adequacy decision that covers this recipient, or
#   under standard contractual clauses or binding corporate rules with a transfer impact assessment.
# related_resources:
#   - ref: https://eur-lex.europa.eu/eli/reg/2016/679/oj
#     description: GDPR
# custom:
#   rule: DFFT-P1
#   basis: GDPR Arts. 44-46
#   source: [EU-ADEQ, EU-ADEQ-PY, EU-BR, EU-GB]
#   remedy: Put standard contractual clauses or binding corporate rules and a transfer impact assessment on file.
#   inputs: [at, dataset.origin, dataset.tags, recipient.country, recipient.type, recipient.dpf, legal.mechanism, legal.tia]
findings contains denied(
	"DFFT-P1",
	concat("", [eea_adequacy_gap, ", and no clauses or corporate rules with a transfer impact assessment are on file."]),
	"Put standard contractual clauses or binding corporate rules and a transfer impact assessment on file.",
) if {
	leaves_the_eea
	not eea_adequate
	not eea_safeguarded
}

leaves_the_eea if {
	personal
	fact(origin, "eea") == true
	fact(country, "eea") != true
}

eea_adequate if {
	adequacy := fact(country, "eu_adequacy")
	in_force(adequacy)
	covered(adequacy.covers)
}

in_force(adequacy) if {
	is_object(adequacy)
	today != ""
	begun(adequacy.from)
	not_over(adequacy.until)
}

begun(from) if from == null

begun(from) if today >= from

not_over(until) if until == null

not_over(until) if today <= until

# METADATA
# description: >-
#   Whom an adequacy decision covers. Some cover only a part of the country's organisations.
covered("everyone") := true

covered("commercial_organisations") if text(recipient, "type") == "company"

covered("business_operators") if text(recipient, "type") == "company"

covered("pipa_organisations") if text(recipient, "type") in {"company", "academia", "public", "health_center"}

covered("dpf_certified") if stated(recipient, "dpf")

covered("dpf_uk_extension") if {
	stated(recipient, "dpf")
	stated(recipient, "dpf_uk_extension")
}

eea_safeguarded if {
	text(legal, "mechanism") in facts.lists.transfer_mechanisms.eu
	stated(legal, "tia")
}

eea_adequacy_gap := "The adequacy decision for the United States covers only recipients certified under the Data Privacy Framework" if {
	country == "US"
} else := "The adequacy decision for Japan covers business operators under APPI, not academia or public bodies" if {
	country == "JP"
} else := "No adequacy decision in force covers this recipient"

# METADATA
# title: "DFFT-P2: from the EEA to the United States"
# description: >-
#   Only recipients certified under the Data Privacy Framework count as adequate (denied through
#   DFFT-P1 otherwise), and fallback clauses are documented in case the decision falls.
# related_resources:
#   - ref: https://eur-lex.europa.eu/eli/dec_impl/2023/1795/oj
#     description: Decision (EU) 2023/1795
# custom:
#   rule: DFFT-P2
#   basis: Decision (EU) 2023/1795
#   source: [EU-ADEQ]
#   remedy: Have the recipient certify under the framework, or follow DFFT-P1.
#   inputs: [at, dataset.origin, dataset.tags, recipient.country, recipient.dpf]
duties contains duty_under("DFFT-P2", "document_fallback_scc", {}) if {
	leaves_the_eea
	country == "US"
	eea_adequate
}

# METADATA
# title: "DFFT-P3: from the EEA to Japan"
# description: >-
#   Adequacy covers business operators under APPI, not academia or public bodies (denied through
#   DFFT-P1 otherwise). Who relies on it applies the Supplementary Rules.
# related_resources:
#   - ref: https://eur-lex.europa.eu/eli/dec_impl/2019/419/oj
#     description: Decision (EU) 2019/419
# custom:
#   rule: DFFT-P3
#   basis: Decision (EU) 2019/419
#   source: [EU-JP-SCOPE, EU-CNPD]
#   remedy: Follow DFFT-P1, with clauses and an assessment.
#   inputs: [at, dataset.origin, dataset.tags, recipient.country, recipient.type]
duties contains duty_under("DFFT-P3", "apply_appi_supplementary_rules", {}) if {
	leaves_the_eea
	country == "JP"
	eea_adequate
}

# METADATA
# title: "DFFT-P4: personal data from Japan"
# description: >-
#   Personal data from Japan goes abroad only to the EEA or the UK, to a recipient with equivalent
#   measures (by contract or CBPR certification), on informed consent, or under a ground of
#   Article 27(1).
# related_resources:
#   - ref: https://www.ppc.go.jp/en/legal/
#     description: APPI and its enforcement rules
# custom:
#   rule: DFFT-P4
#   basis: APPI Art. 28; PPC Rules 15-18
#   source: [JP-A28, JP-A28-EN, JP-R16, JP-R18, GCBPR]
#   remedy: Agree equivalent measures by contract, use a CBPR-certified recipient, obtain consent after telling the country, its system and the recipient's measures, or name a ground of Article 27(1).
#   inputs: [dataset.origin, dataset.tags, recipient.country, recipient.cbpr, legal.mechanism, legal.consent_info]
findings contains denied(
	"DFFT-P4",
	"Personal data would leave Japan without a designated country, equivalent measures, informed consent or a ground of Article 27(1).",
	"Agree equivalent measures by contract, use a CBPR-certified recipient, obtain consent after telling the country, its system and the recipient's measures, or name a ground of Article 27(1).",
) if {
	leaves_japan
	not designated_by_japan
	not equivalent_measures
	not informed_consent
	not article_27_1
}

leaves_japan if {
	personal
	origin == "JP"
	country != "JP"
}

designated_by_japan if fact(country, "appi_equivalent") == true

equivalent_measures if text(legal, "mechanism") in facts.lists.transfer_mechanisms.japan_equivalent_measures

# A certificate exists only where a member of the forum has certifiers; associates have none.
equivalent_measures if {
	stated(recipient, "cbpr")
	fact(country, "gcbpr") == "member"
}

informed_consent if {
	text(legal, "mechanism") == "consent"
	is_array(object.get(legal, "consent_info", null))
	untold := {topic |
		some topic in facts.lists.transfer_mechanisms.japan_consent_must_tell
		count({word | some word in legal.consent_info; word in topic}) == 0
	}
	count(untold) == 0
}

article_27_1 if text(legal, "mechanism") in facts.lists.transfer_mechanisms.japan_article_27_1

# Rule 18: whoever relies on equivalent measures checks on them periodically.
duties contains duty_under(
	"DFFT-P4", "periodic_check_recipient",
	{"every_months": facts.choices.recipient_check_months.months},
) if {
	leaves_japan
	not designated_by_japan
	equivalent_measures
}

# METADATA
# title: "DFFT-P5: personal data from the United Kingdom"
# description: >-
#   UK personal data needs UK adequacy regulations, or the IDTA, the Addendum or binding corporate
#   rules with a transfer risk assessment. EU clauses alone are not enough.
# related_resources:
#   - ref: https://www.legislation.gov.uk/eur/2016/679/chapter/V
#     description: UK GDPR, Chapter V
# custom:
#   rule: DFFT-P5
#   basis: UK GDPR Arts. 45-46; IDTA in force 2022-03-21
#   source: [UK-REG, UK-REG-FO, UK-IDTA]
#   remedy: Put the IDTA, the UK Addendum or binding corporate rules and a transfer risk assessment on file.
#   inputs: [dataset.origin, dataset.tags, recipient.country, recipient.type, recipient.dpf, recipient.dpf_uk_extension, legal.mechanism, legal.tia]
findings contains denied(
	"DFFT-P5",
	"No UK adequacy regulations cover this recipient, and no UK instrument with a transfer risk assessment is on file.",
	"Put the IDTA, the UK Addendum or binding corporate rules and a transfer risk assessment on file.",
) if {
	personal
	origin == "GB"
	country != "GB"
	not uk_adequate
	not uk_safeguarded
}

uk_adequate if {
	adequacy := fact(country, "uk_adequacy")
	is_object(adequacy)
	covered(adequacy.covers)
}

uk_safeguarded if {
	text(legal, "mechanism") in facts.lists.transfer_mechanisms.uk
	stated(legal, "tia")
}

# METADATA
# title: "DFFT-P6: personal data from mainland China"
# description: >-
#   Personal data from mainland China needs the mechanism that its volume demands: a security
#   assessment by the CAC, or the standard contract or certification, or nothing below the lowest
#   threshold. An unknown volume counts as the largest.
# related_resources:
#   - ref: https://bifrostindex.ai/guides/china/international-data-transfers
#     description: Guide to PIPL Arts. 38-40
# custom:
#   rule: DFFT-P6
#   basis: PIPL Arts. 38-40; provisions of March 2024
#   source: [PIPL, PIPL-2024]
#   remedy: Pass the CAC security assessment, or file the standard contract or certification if the volume allows it.
#   inputs: [dataset.origin, dataset.tags, dataset.subjects, dataset.important_data, dataset.ciio, recipient.country, legal.mechanism]
findings contains denied(
	"DFFT-P6",
	concat("", ["Personal data would leave mainland China without ", china_demands, "."]),
	"Pass the CAC security assessment, or file the standard contract or certification if the volume allows it.",
) if {
	personal
	origin == "CN"
	country != "CN"
	china_demands != "nothing"
	not china_satisfied
}

china_demands := "the security assessment that its volume or kind demands" if {
	china_needs_assessment
} else := "the standard contract or certification that its volume demands" if {
	china_needs_contract
} else := "nothing"

china_needs_assessment if not subjects_known

china_needs_assessment if subjects >= facts.lists.china_export_thresholds.assessment_from_persons

china_needs_assessment if {
	special_care
	subjects >= facts.lists.china_export_thresholds.assessment_from_sensitive_persons
}

china_needs_assessment if suspected(dataset, "important_data")

china_needs_assessment if suspected(dataset, "ciio")

china_needs_contract if special_care

china_needs_contract if subjects >= facts.lists.china_export_thresholds.contract_from_persons

china_satisfied if text(legal, "mechanism") in facts.lists.transfer_mechanisms.china_assessment

china_satisfied if {
	not china_needs_assessment
	text(legal, "mechanism") in facts.lists.transfer_mechanisms.china_contract_or_certification
}

# METADATA
# description: How many people the data is about; minus one when that is not known.
default subjects := -1

subjects := dataset.subjects if {
	is_number(dataset.subjects)
	dataset.subjects >= 0
}

subjects_known if subjects >= 0

# METADATA
# title: "DFFT-P7: bulk sensitive personal data of the United States"
# description: >-
#   Bulk US sensitive personal data never reaches a country of concern or someone it controls,
#   de-identified or not. An unknown number of people counts as bulk.
# related_resources:
#   - ref: https://www.ecfr.gov/current/title-28/chapter-I/part-202
#     description: 28 CFR Part 202
# custom:
#   rule: DFFT-P7
#   basis: 28 CFR 202.205, .206, .601
#   source: [DOJ-601, DOJ-205, DOJ-206]
#   remedy: None for bulk data; share fewer people's data than the threshold, or choose another recipient.
#   inputs: [dataset.origin, dataset.tags, dataset.subjects, recipient.country, recipient.controlled_by, recipient.specific_category]
findings contains denied(
	"DFFT-P7",
	"Bulk sensitive personal data from the United States would reach a country of concern or someone it controls.",
	"None for bulk data; share fewer people's data than the threshold, or choose another recipient.",
) if {
	origin == "US"
	bulk_under_us_rules
	some code in (reached_countries | influencing_countries)
	fact(code, "us_country_of_concern") == true
}

us_bulk_limits contains limit if {
	some tag, limit in facts.lists.us_bulk_thresholds.more_than
	tag in tags
}

us_bulk_limits contains facts.lists.us_bulk_thresholds.covered_identifiers if {
	some tag in tags
	startswith(tag, "privacy:")
	tag != "privacy:none"
}

# Special data of a kind that no tag names is held to the lowest limit.
us_bulk_limits contains facts.lists.us_bulk_thresholds.special_of_unknown_kind if {
	"privacy:special" in tags
	count({tag | some tag, _ in facts.lists.us_bulk_thresholds.more_than; tag in tags}) == 0
}

bulk_under_us_rules if {
	some limit in us_bulk_limits
	subjects > limit
}

bulk_under_us_rules if {
	count(us_bulk_limits) > 0
	not subjects_known
}

# METADATA
# title: "DFFT-P8: notification under the Infectious Diseases Act"
# description: >-
#   A hospital notifies a health centre in Japan, and only with the fields that the Act names.
# custom:
#   rule: DFFT-P8
#   basis: Act 114/1998 Art. 12(1)(i), (ii)
#   source: [IDA-12]
#   remedy: Send the notification to a health centre in Japan and name the item of the Act that demands it.
#   inputs: [purpose, legal.statute, recipient.type, recipient.country, dataset.columns]
findings contains denied(
	"DFFT-P8",
	"A statutory notification goes only from a hospital to a health centre in Japan, under an item of the Act.",
	"Send the notification to a health centre in Japan and name the item of the Act that demands it.",
) if {
	statutory_notification
	not notification_in_order
}

statutory_notification if purpose == "dfft:StatutoryHealthNotification"

statute := text(legal, "statute")

named_items := object.get(facts.lists.notification_items.statutes, statute, [])

notification_in_order if {
	text(recipient, "type") == "health_center"
	country == "JP"
	count(named_items) > 0
}

duties contains duty_under("DFFT-P8", "keep_only", {"fields": notified_fields}) if {
	statutory_notification
	notification_in_order
}

notified_fields := columns_about(notified_concepts) if {
	columns_mapped
} else := sort(named_items)

notified_concepts contains concept if {
	some item in named_items
	some concept in object.get(concepts_of_item, item, [])
}

# The Act's words in the words of column concepts. A test result is part of the diagnosis.
concepts_of_item := {
	"name": ["name"],
	"age": ["age"],
	"sex": ["sex"],
	"address": ["address"],
	"occupation": ["occupation"],
	"disease": ["disease", "test-result"],
	"symptoms": ["symptoms"],
	"onset_date": ["onset-date"],
}

# METADATA
# title: "DFFT-P9: research copies"
# description: >-
#   Research copies of personal data are keyed per recipient, coarsened, k-anonymous and deleted on
#   time. How far is a policy choice (facts, choices.research_copies).
# custom:
#   rule: DFFT-P9
#   basis: GDPR Art. 89; APPI; DPV Pseudonymisation
#   source: [choices.research_copies]
#   remedy: Nothing to do; these duties are carried out by the gateway or told to the recipient.
#   inputs: [purpose, dataset.tags, dataset.columns, dataset.retention_days]
research_copy if {
	personal
	purpose in {"dpv:AcademicResearch", "dpv:ScientificResearch", "dpv:CommercialResearch"}
}

duties contains duty_under("DFFT-P9", "pseudonymise_hmac", {"columns": named}) if {
	research_copy
	named := columns_about({"person-id"})
	count(named) > 0
}

duties contains duty_under("DFFT-P9", "redact", {"fields": named}) if {
	research_copy
	named := columns_about({"name", "address"})
	count(named) > 0
}

duties contains duty_under("DFFT-P9", "generalise", {
	"age_band": facts.choices.research_copies.age_band,
	"date": facts.choices.research_copies.date,
	"columns": coarsened,
}) if {
	research_copy
	coarsened := {column: kind |
		some column, concept in columns
		kind := object.get({"age": "age", "date": "date", "onset-date": "date", "day": "day"}, concept, "")
		kind != ""
	}
	count(coarsened) > 0
}

# Dates are coarsened, but a day of testing does not single out a person within a group.
duties contains duty_under("DFFT-P9", "k_anonymity", {
	"k": facts.choices.research_copies.k,
	"on_fail": "suppress",
	"quasi_ids": quasi_identifiers,
}) if {
	research_copy
	quasi_identifiers := columns_about({"sex", "age", "place", "facility", "occupation"})
	count(quasi_identifiers) > 0
}

duties contains duty_under("DFFT-P9", "delete_after_days", {"days": retention_days}) if research_copy

retention_days := dataset.retention_days if {
	is_number(dataset.retention_days)
	dataset.retention_days > 0
} else := facts.choices.research_copies.retention_days
