# Security: sanctions, export control, government access, and who may see what.
package dfft

import data.dfft.facts

# METADATA
# title: "DFFT-S1: sanctions"
# description: >-
#   Nothing goes to, or comes from, sanctioned places or parties, or those they control. The places
#   are a demonstration list (facts, choices.sanctioned_places).
# custom:
#   rule: DFFT-S1
#   basis: Foreign Exchange and Foreign Trade Act; United Nations sanctions
#   source: [choices.sanctioned_places]
#   remedy: None while the listing stands; record its end with the party once it is delisted.
#   inputs: [recipient.country, recipient.controlled_by, recipient.sanctioned, recipient.specific_category, sender.country, sender.controlled_by, sender.sanctioned]
findings contains denied(
	"DFFT-S1",
	"A party to this exchange is sanctioned, is in a sanctioned place, or is controlled from one.",
	"None while the listing stands; record its end with the party once it is delisted.",
) if {
	sanctions_reach
}

sanctions_reach if {
	some party in counterparties
	suspected(party, "sanctioned")
}

sanctions_reach if {
	some party in counterparties
	some code in {text(party, "country"), text(party, "controlled_by")}
	sanctioned_place(code)
}

sanctions_reach if {
	direction != "request"
	some code in influencing_countries
	sanctioned_place(code)
}

sanctioned_place(code) if object.get(facts.choices.sanctioned_places.places, code, null) != null

# METADATA
# title: "DFFT-S2: list-controlled technology"
# description: >-
#   List-controlled technology needs a licence at least as specific as the destination demands on
#   that date, from general bulk through special bulk to individual. A resident under foreign
#   influence counts as an export to that country (DFFT-S3).
# related_resources:
#   - ref: https://www.meti.go.jp/english/press/2023/0316_001.html
#     description: METI on the three items to Korea
# custom:
#   rule: DFFT-S2
#   basis: FEFTA Art. 25; Export Trade Control Order, Appended Tables 1 and 3
#   source: [METI-A-NAIST, METI-A-27, METI-KR-LIST, METI-KR-2019, METI-KR-2019B, METI-KR-2023]
#   remedy: Obtain an export licence of the kind that the destination demands and record its number.
#   inputs: [at, dataset.tags, dataset.origin, dataset.product, recipient.country, recipient.specific_category, legal.licence_type, legal.licence_id]
findings contains denied(
	"DFFT-S2",
	"No export licence is on file that is as specific as the destination demands for controlled technology on this date.",
	"Obtain an export licence of the kind that the destination demands and record its number.",
) if {
	controlled
	count(export_destinations) > 0
	not licensed
}

export_destinations := ({country} | influencing_countries) - {origin}

specificity := {"general_bulk": 1, "special_bulk": 2, "individual": 3}

licensed if {
	text(legal, "licence_id") != ""
	held_licence := object.get(specificity, text(legal, "licence_type"), 0)
	count({demand | some demand in licence_demands; held_licence < specificity[demand]}) == 0
}

licence_demands contains "general_bulk"

licence_demands contains "special_bulk" if {
	some code in export_destinations
	not in_group_a(code)
}

# Nothing is known of this destination.
licence_demands contains "individual" if {
	some code in export_destinations
	fact(code, "meti_group_a") == null
}

licence_demands contains korea_period.three_items if {
	"KR" in export_destinations
	one_of_three_items
}

# A bulk licence does not serve an end use that raises concern.
licence_demands contains "individual" if end_use_concern

# METADATA
# description: Destinations of Appended Table 3 (Group A). Korea left it and came back.
in_group_a(code) if {
	code != "KR"
	fact(code, "meti_group_a") in {true, "domestic"}
}

in_group_a(code) if {
	code == "KR"
	korea_period.group == "A"
}

default korea_period := {"group": "unknown", "three_items": "individual"}

korea_period := period if {
	some period in facts.lists.korea_licence_timeline.timeline
	today >= period.from
	not_over(period.to)
}

one_of_three_items if product_name in facts.lists.korea_licence_timeline.items

one_of_three_items if not is_string(object.get(dataset, "product", ""))

# The product in small letters; those of ASCII only, since programs disagree on others.
product_name := concat("", [object.get(small_letters, letter, letter) | some letter in split(text(dataset, "product"), "")])

small_letters := {
	"A": "a", "B": "b", "C": "c", "D": "d", "E": "e", "F": "f", "G": "g", "H": "h", "I": "i", "J": "j", "K": "k", "L": "l", "M": "m",
	"N": "n", "O": "o", "P": "p", "Q": "q", "R": "r", "S": "s", "T": "t", "U": "u", "V": "v", "W": "w", "X": "x", "Y": "y", "Z": "z",
}

duties contains duty_under("DFFT-S2", "record_licence", {"licence_id": text(legal, "licence_id")}) if {
	controlled
	count(export_destinations) > 0
	licensed
}

# METADATA
# title: "DFFT-S3: deemed export"
# description: >-
#   Before controlled technology is given to a person in the country, ask whether a specific category
#   applies. If one does, DFFT-S2 asks for the licence that the influencing country demands.
# related_resources:
#   - ref: http://sacla.xfel.jp/?page_id=16284&lang=en
#     description: Deemed exports and the three specific categories
# custom:
#   rule: DFFT-S3
#   basis: METI notification on deemed exports, in force 2022-05-01
#   source: [JP-DEEMED]
#   remedy: Record the person's declaration on specific categories; obtain a licence if one applies.
#   inputs: [dataset.tags, dataset.origin, recipient.type, recipient.country]
duties contains duty_under("DFFT-S3", "confirm_specific_category", {}) if {
	controlled
	country == origin
	text(recipient, "type") == "person"
}

# METADATA
# title: "DFFT-S4: catch-all control"
# description: >-
#   Unlisted data stops on a known military or WMD end use, a listed end user, or a notice of METI,
#   in Group A too.
# related_resources:
#   - ref: https://www.meti.go.jp/english/press/2025/0404_001.html
#     description: METI on complementary export controls
# custom:
#   rule: DFFT-S4
#   basis: Catch-all control under FEFTA; METI 2025-04-04
#   source: [METI-2025]
#   remedy: Obtain a licence from METI for this end use and end user, or clear up the concern and record it.
#   inputs: [dataset.tags, recipient.military_end_use, recipient.wmd_end_use, recipient.listed_end_user, recipient.meti_informed]
findings contains denied(
	"DFFT-S4",
	"The end use or end user raises a concern, or METI has given notice.",
	"Obtain a licence from METI for this end use and end user, or clear up the concern and record it.",
) if {
	not controlled
	end_use_concern
}

end_use_concern if {
	some flag in [
		"military_end_use", "wmd_end_use", "listed_end_user", "end_user_listed", "foreign_user_list",
		"meti_informed",
	]
	object.get(recipient, flag, false) != false
}

# METADATA
# title: "DFFT-S5: government access"
# description: >-
#   Special-category personal data, data on critical infrastructure and critical economic security
#   information do not go where a state that has not joined the OECD declaration on government
#   access can reach them, unless an assessment is on file. Other sensitive data goes there only with
#   keys that the exporter holds. Wherever sensitive data goes abroad, the recipient gives notice of
#   a government's request for it. The test of states is a policy choice
#   (facts, choices.government_access_test), and so is the line between the two kinds of data.
# related_resources:
#   - ref: https://legalinstruments.oecd.org/en/instruments/OECD-LEGAL-0487
#     description: OECD Declaration on Government Access
# custom:
#   rule: DFFT-S5
#   basis: OECD/LEGAL/0487; Data Act Art. 32; Data Governance Act Art. 31
#   source: [OECD-GA, choices.government_access_test]
#   remedy: Put an assessment of government access on file for this recipient.
#   inputs: [dataset.tags, dataset.origin, recipient.country, recipient.controlled_by, legal.gov_access_assessment, recipient.gov_access_assessment, legal.tia]
findings contains denied(
	"DFFT-S5",
	"A state that has not joined the OECD declaration on government access could reach sensitive data, and no assessment is on file.",
	"Put an assessment of government access on file for this recipient.",
) if {
	guarded
	reachable_by_outsider
	not access_assessed
}

# Which data needs the assessment is a policy choice too (facts, choices.assessment_before_access).
guarded if {
	some name in facts.choices.assessment_before_access.tags
	name in tag_names
}

sensitive if guarded

sensitive if special_care

sensitive if controlled

sensitive if unpublished_invention

sensitive if "ip:trade-secret" in tags

states_with_access := reached_countries - {origin}

reachable_by_outsider if {
	some code in states_with_access
	fact(code, facts.choices.government_access_test.attribute) != true
}

access_assessed if stated(legal, "gov_access_assessment")

access_assessed if stated(recipient, "gov_access_assessment")

# A transfer impact assessment looks at the same question, for personal data.
access_assessed if {
	stated(legal, "tia")
	not critical_infrastructure
	not "security:cei" in tags
}

duties contains duty_under("DFFT-S5", "exporter_held_keys", {}) if {
	sensitive
	reachable_by_outsider
}

duties contains duty_under("DFFT-S5", "notify_gov_access_request", {
	"who": "exporter",
	"within_hours": facts.choices.notice_within_hours.hours,
}) if {
	sensitive
	count(states_with_access) > 0
}

# METADATA
# title: "DFFT-S6: critical economic security information"
# description: >-
#   Critical economic security information goes only to an assessed person in a conforming operator,
#   while the clearance is valid.
# related_resources:
#   - ref: https://www.businesslawyers.jp/articles/1402
#     description: On Act 27/2024
# custom:
#   rule: DFFT-S6
#   basis: Act 27/2024
#   source: [JP-SC]
#   remedy: Have the person assessed within a conforming operator, and record until when that holds.
#   inputs: [at, dataset.tags, recipient.clearance]
findings contains denied(
	"DFFT-S6",
	"The recipient holds no valid clearance in a conforming operator.",
	"Have the person assessed within a conforming operator, and record until when that holds.",
) if {
	"security:cei" in tags
	not cleared
}

cleared if {
	clearance := object.get(recipient, "clearance", null)
	is_object(clearance)
	stated(clearance, "conforming_operator")
	today != ""
	day_of(object.get(clearance, "valid_until", null)) >= today
}

# METADATA
# title: "DFFT-S7: fine satellite records"
# description: >-
#   Fine satellite records go only to certified handlers. In a disaster everyone else gets a
#   degraded copy. A record of unknown resolution counts as fine.
# related_resources:
#   - ref: https://www.gesetze-im-internet.de/satdsiv/__1.html
#     description: German thresholds
# custom:
#   rule: DFFT-S7
#   basis: Remote Sensing Act; Sentinel Asia
#   source: [RS-OPT, RS-DE, SA]
#   remedy: Have the recipient certified as a handler, or ask for disaster response and accept a degraded copy.
#   inputs: [dataset.tags, dataset.gsd_m, dataset.origin, purpose, recipient.eo_certified]
findings contains denied(
	"DFFT-S7",
	"The satellite record is fine and the recipient is not a certified handler.",
	"Have the recipient certified as a handler, or ask for disaster response and accept a degraded copy.",
) if {
	fine_record
	not stated(recipient, "eo_certified")
	purpose != "dfft:DisasterResponse"
}

duties contains duty_under("DFFT-S7", "degrade_resolution", {"to_m": facts.choices.disaster_copy_to_m.metres}) if {
	fine_record
	not stated(recipient, "eo_certified")
	purpose == "dfft:DisasterResponse"
}

satellite_law := "DE" if {
	origin == "DE"
} else := "JP"

satellite_sensors := {sensor | some sensor in ["optical", "sar"]; concat("", ["security:eo=", sensor]) in tags}

fine_record if {
	some sensor in satellite_sensors
	ground_sample_distance <= facts.lists.satellite_thresholds_m[satellite_law][sensor]
}

# METADATA
# description: Metres on the ground per sample; zero, the finest, when that is not known.
default ground_sample_distance := 0

ground_sample_distance := dataset.gsd_m if is_number(dataset.gsd_m)

# METADATA
# title: "DFFT-S8: chokepoint supply data"
# description: >-
#   Supply data on specified critical products is shared in full with G7 and Quad partners under an
#   agreement, and aggregated otherwise. The partner sets are a policy choice
#   (facts, choices.partner_sets).
# related_resources:
#   - ref: https://elaws.jp/view/504CO0000000394
#     description: Cabinet Order 394/2022
# custom:
#   rule: DFFT-S8
#   basis: Cabinet Order 394/2022 Art. 1
#   source: [ESPA-PROD, ESPA-PROD16, choices.partner_sets]
#   remedy: Conclude an agreement with a partner in a G7 or Quad country to share in full.
#   inputs: [dataset.tags, dataset.columns, recipient.country, recipient.controlled_by, recipient.agreement]
duties contains duty_under("DFFT-S8", "aggregate", {
	"by": columns_about({"place"}),
	"min_contributors": facts.choices.aggregate_min_contributors.number,
}) if {
	chokepoint_supply
	not shared_in_full
}

shared_in_full if {
	stated(recipient, "agreement")
	count({code | some code in reached_countries; not partner_country(code)}) == 0
}

partner_country(code) if {
	some set_name in facts.choices.partner_sets.sets
	fact(code, set_name) == true
}

# METADATA
# title: "DFFT-S9: Traffic Light Protocol"
# description: >-
#   Labels bind. Red goes to named recipients, amber to those with a need to know, green stays within
#   the community, and only clear is published.
# related_resources:
#   - ref: https://www.first.org/tlp/
#     description: TLP 2.0
# custom:
#   rule: DFFT-S9
#   basis: FIRST TLP 2.0
#   source: [TLP]
#   remedy: Name the recipient or record its need to know, or ask the source to relabel the data.
#   inputs: [dataset.tags, action, recipient.named, recipient.need_to_know]
findings contains denied(
	"DFFT-S9",
	concat(" ", sort(label_breaches)),
	"Name the recipient or record its need to know, or ask the source to relabel the data.",
) if {
	count(label_breaches) > 0
}

label_breaches contains "TLP:RED data goes only to named recipients." if {
	"security:tlp-red" in tags
	not stated(recipient, "named")
}

label_breaches contains "TLP:AMBER data goes only to those with a need to know." if {
	count(tags & {"security:tlp-amber", "security:tlp-amber-strict"}) > 0
	not stated(recipient, "need_to_know")
}

label_breaches contains "Only TLP:CLEAR data is published." if {
	action == "publish"
	{tag | some tag in tags; startswith(tag, "security:tlp-")} != {"security:tlp-clear"}
}

# Amber-strict stays in the recipient's organisation, red with the named recipient.
duties contains duty_under("DFFT-S9", "no_onward_transfer", {}) if {
	count(tags & {"security:tlp-amber-strict", "security:tlp-red"}) > 0
}

# METADATA
# title: "DFFT-S10: emerging technology"
# description: Joint work on emerging technology outside Group A goes to a person.
# related_resources:
#   - ref: https://www.federalregister.gov/documents/2018/11/19/2018-25221/review-of-controls-for-certain-emerging-technologies
#     description: 83 FR 58201
# custom:
#   rule: DFFT-S10
#   basis: 83 FR 58201
#   source: [BIS-14, BIS-14N, METI-A-NAIST, METI-KR-LIST]
#   remedy: Have a named person approve this joint work.
#   inputs: [at, dataset.tags, dataset.origin, recipient.country, recipient.specific_category]
findings contains held(
	"DFFT-S10",
	"Emerging technology would go outside Group A.",
	"Have a named person approve this joint work.",
	["export_control"],
) if {
	emerging_technology
	some code in export_destinations
	not in_group_a(code)
}
