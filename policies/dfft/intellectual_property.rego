# Intellectual property: whose work this is, and what its terms allow.
package dfft

# METADATA
# title: "DFFT-I1: no known licence, no sharing"
# description: >-
#   Without a known licence nothing is shared and nothing is trained. Who shares a work under a
#   Creative Commons attribution licence names its creator.
# related_resources:
#   - ref: https://spdx.github.io/spdx-spec/v2.3/package-information/
#     description: SPDX, NOASSERTION and NONE
# custom:
#   rule: DFFT-I1
#   basis: SPDX NOASSERTION; Creative Commons attribution
#   source: [vocabulary]
#   remedy: Find out the licence and record its SPDX identifier with the dataset.
#   inputs: [dataset.tags, dataset.licence, dataset.creator, action, recipient.party]
findings contains denied(
	"DFFT-I1",
	"The licence of this dataset is not known.",
	"Find out the licence and record its SPDX identifier with the dataset.",
) if {
	licence_unknown
	not looked_at_inside
}

licence := text(dataset, "licence")

licence_unknown if licence in {"", "NOASSERTION", "NONE"}

licence_unknown if "ip:unknown" in tags

# A look inside one's own organisation shares nothing. Over a gateway the recipient is another party.
looked_at_inside if {
	action == "read"
	text(recipient, "party") == ""
}

duties contains duty_under("DFFT-I1", "attribute", {"licence": licence, "creator": creator}) if {
	startswith(licence, "CC-BY")
	action != "read"
}

creator := named if {
	named := text(dataset, "creator")
	named != ""
} else := "as named by the dataset"

# METADATA
# title: "DFFT-I2: training"
# description: >-
#   Training respects opt-outs from text and data mining where the EU is involved, and terms that
#   allow no derivatives everywhere. What was used is logged.
# related_resources:
#   - ref: https://eur-lex.europa.eu/eli/dir/2019/790/oj
#     description: DSM Directive
# custom:
#   rule: DFFT-I2
#   basis: DSM Directive Art. 4(3); AI Act Art. 53; Copyright Act of Japan Art. 30-4
#   source: [EU-TDM, JP-CR]
#   remedy: Obtain a licence agreement for training, or leave the work out.
#   inputs: [action, dataset.tags, dataset.licence, dataset.origin, recipient.country, recipient.eu_market, dataset.eu_market, legal.eu_market, eu_market, recipient.agreement]
findings contains denied(
	"DFFT-I2",
	"The terms of this dataset do not allow training or derived works here.",
	"Obtain a licence agreement for training, or leave the work out.",
) if {
	terms_forbid_use
}

terms_forbid_use if {
	action in {"train", "derive"}
	no_derivatives
}

terms_forbid_use if {
	action == "train"
	"ip:tdm-reserved" in tags
	eu_involved
	not stated(recipient, "agreement")
}

no_derivatives if "ip:no-derivatives" in tags

no_derivatives if {
	startswith(licence, "CC-BY-")
	contains(licence, "-ND")
}

eu_involved if fact(origin, "eu_member") == true

eu_involved if fact(country, "eu_member") == true

eu_involved if suspected(recipient, "eu_market")

eu_involved if suspected(dataset, "eu_market")

eu_involved if suspected(legal, "eu_market")

eu_involved if {
	market := input.eu_market
	market != false
}

duties contains duty_under("DFFT-I2", "log_training_content", {
	"dataset": text(dataset, "id"),
	"licence": licence,
	"date": today,
}) if {
	action == "train"
}

# METADATA
# title: "DFFT-I3: trade secrets and limited-provision data"
# description: >-
#   Trade secrets and limited-provision data need an agreement that names the recipient. Copies are
#   watermarked and go no further.
# custom:
#   rule: DFFT-I3
#   basis: Unfair Competition Prevention Act Art. 2(6), (7)
#   source: [UCPA]
#   remedy: Conclude an agreement that names this recipient and dataset.
#   inputs: [dataset.tags, recipient.agreement, recipient.party]
findings contains denied(
	"DFFT-I3",
	"No agreement that names this recipient is on file for confidential data.",
	"Conclude an agreement that names this recipient and dataset.",
) if {
	confidential
	not stated(recipient, "agreement")
}

confidential if count(tags & {"ip:trade-secret", "ip:limited-provision"}) > 0

duties contains duty_under("DFFT-I3", "watermark", {"recipient": text(recipient, "party")}) if confidential

duties contains duty_under("DFFT-I3", "no_onward_transfer", {}) if confidential

# METADATA
# title: "DFFT-I4: inventions under security designation"
# description: >-
#   A designated invention is never disclosed. An unpublished invention in one of the 25 specified
#   fields is not filed abroad without prior confirmation.
# related_resources:
#   - ref: https://www.cao.go.jp/keizai_anzen_hosho/suishinhou/patent/patent.html
#     description: Cabinet Office, patent non-disclosure system
# custom:
#   rule: DFFT-I4
#   basis: Economic Security Promotion Act ch. 5; Cabinet Order 394/2022 Art. 12
#   source: [ESPA-PAT, ESPA-PAT-NUC, ESPA-PAT-CAO, ESPA-PAT-10M]
#   remedy: None for a designated invention; otherwise obtain the prior confirmation of the Japan Patent Office.
#   inputs: [dataset.tags, action, legal.prior_confirmation]
findings contains denied(
	"DFFT-I4",
	"A designated invention would be disclosed, or an unpublished invention filed abroad unconfirmed.",
	"None for a designated invention; otherwise obtain the prior confirmation of the Japan Patent Office.",
) if {
	invention_barred
}

designated_invention if "ip:patent-secrecy" in tags

invention_barred if designated_invention

invention_barred if {
	unpublished_invention
	action == "file_abroad"
	text(legal, "prior_confirmation") == ""
}

# METADATA
# title: "DFFT-I4: unpublished inventions go to a person"
# description: >-
#   Any other use of an unpublished invention in a specified field goes to a person, until a named
#   approval for it is on file.
# custom:
#   rule: DFFT-I4
#   basis: Economic Security Promotion Act ch. 5; Cabinet Order 394/2022 Art. 12
#   source: [ESPA-PAT, ESPA-PAT-EN]
#   remedy: Have a named person approve that this unpublished invention is shared.
#   inputs: [dataset.tags, action, legal.approvals]
findings contains held(
	"DFFT-I4",
	"The data describes an unpublished invention in a field under security review.",
	"Have a named person approve that this unpublished invention is shared.",
	["intellectual_property"],
) if {
	unpublished_invention
	not designated_invention
	action != "file_abroad"
	not sharing_approved
}

# An approval names its rule and who gave it; one with a last day ends with that day.
sharing_approved if {
	is_array(object.get(legal, "approvals", null))
	some approval in legal.approvals
	is_object(approval)
	text(approval, "rule") == "DFFT-I4"
	text(approval, "by") != ""
	approval_lasts(object.get(approval, "until", "open"))
}

approval_lasts(until) if until == "open"

approval_lasts(until) if {
	today != ""
	day_of(until) >= today
}
