# Trust: is the dataset described, is the partner known, are our facts fresh?
package dfft

import data.dfft.facts

# METADATA
# title: "DFFT-G1: every dataset is tagged"
# description: >-
#   Every dataset carries at least one privacy, one intellectual property and one security tag, all
#   of the vocabulary; otherwise nothing leaves.
# custom:
#   rule: DFFT-G1
#   basis: Gateway rule; the three concerns of Data Free Flow with Trust
#   source: [vocabulary]
#   remedy: Tag the dataset for privacy, ip and security with words of the vocabulary.
#   inputs: [dataset.id, dataset.tags, channel.direction]
findings contains denied(
	"DFFT-G1",
	concat(" ", sort(description_gaps)),
	"Tag the dataset for privacy, ip and security with words of the vocabulary.",
) if {
	count(description_gaps) > 0
}

description_gaps contains "The dataset has no id." if text(dataset, "id") == ""

description_gaps contains concat("", ["The dataset has no ", family, " tag."]) if {
	some family in ({"privacy", "ip", "security"} - {split(tag, ":")[0] | some tag in tags})
}

description_gaps contains "A tag of the dataset is outside the vocabulary." if {
	some tag in tags
	object.get(facts.vocabulary.tags, tag, "") == ""
	not names_its_value(tag)
}

description_gaps contains "A tag of the dataset is not text." if {
	is_array(object.get(dataset, "tags", null))
	some tag in dataset.tags
	not is_string(tag)
}

description_gaps contains "The direction of the exchange is unknown." if direction == "unreadable"

# Tags that carry a name of their own: a control list row, a sector, a product.
names_its_value(tag) if {
	parts := split(tag, "=")
	count(parts) == 2
	object.get(facts.vocabulary.valued_tags, parts[0], "") != ""
	is_value_name(parts[1])
}

is_value_name(name) if {
	count(name) > 0
	count(name) <= 64
	trim(name, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz().-") == ""
}

# METADATA
# title: "DFFT-G2: members state a purpose that is offered"
# description: >-
#   The partner is an active member, has accepted the framework agreement, and states a purpose
#   that the dataset offers and an action that this policy knows.
# related_resources:
#   - ref: https://digital.go.jp/en/dfft-iap-en
#     description: Institutional Arrangement for Partnership
# custom:
#   rule: DFFT-G2
#   basis: IAP partnership; Catena-X Membership, FrameworkAgreement and UsagePurpose
#   source: [DFFT-IAP]
#   remedy: Renew the membership, accept the framework agreement, or ask for a purpose that is offered.
#   inputs: [recipient.membership, recipient.framework, recipient.type, sender.membership, sender.framework, purpose, action, dataset.purposes]
findings contains denied(
	"DFFT-G2",
	concat(" ", sort(standing_gaps)),
	"Renew the membership, accept the framework agreement, or ask for a purpose that is offered.",
) if {
	count(standing_gaps) > 0
}

# METADATA
# description: Whom the exchange depends on. Of ourselves, nothing is asked when we are the ones asking.
counterparties["recipient"] := recipient if direction != "request"

counterparties["sender"] := sender if direction in {"import", "request"}

standing_gaps contains concat("", ["The ", role, " is not an active member."]) if {
	some role, party in counterparties
	text(party, "membership") != "active"
}

standing_gaps contains concat("", ["The ", role, " has not accepted the framework agreement."]) if {
	some role, party in counterparties
	not startswith(text(party, "framework"), "IAP-FA:")
}

standing_gaps contains "What kind of organisation the recipient is has not been recorded." if {
	direction != "request"
	text(recipient, "type") == ""
}

standing_gaps contains "The purpose is not one of the vocabulary." if not known_purpose

standing_gaps contains "The dataset does not offer this purpose." if {
	direction != "request"
	not purpose_offered
}

standing_gaps contains "The action is unknown." if not is_string(object.get(facts.vocabulary.actions, action, null))

known_purpose if is_string(object.get(facts.vocabulary.purposes, purpose, null))

purpose_offered if {
	is_array(object.get(dataset, "purposes", null))
	purpose in dataset.purposes
}

# METADATA
# title: "DFFT-G3: stale or missing facts go to a person"
# description: A country fact that is missing or past its review date sends the request to a person.
# custom:
#   rule: DFFT-G3
#   basis: Regulator hygiene; the review dates in the facts
#   source: [attributes, countries, lists]
#   remedy: Review the facts about this country, or have a named person approve the request.
#   inputs: [at, recipient.country, recipient.controlled_by, recipient.specific_category, sender.country, sender.controlled_by, dataset.origin]
findings contains held(
	"DFFT-G3",
	concat(" ", sort(doubts)),
	"Review the facts about this country, or have a named person approve the request.",
	["policy"],
) if {
	count(doubts) > 0
}

doubts contains "The date of the request cannot be read." if today == ""

doubts contains "A fact that this policy relies on is past its review date." if {
	some kind in ["attributes", "lists"]
	some entry in facts[kind]
	today > entry.review_by
}

doubts contains concat("", ["There are no complete facts about the country of the ", role, "."]) if {
	some role, party in counterparties
	not country_known(text(party, "country"))
}

doubts contains concat("", ["There are no complete facts about the country that controls the ", role, "."]) if {
	some role, party in counterparties
	suspected(party, "controlled_by")
	not country_known(text(party, "controlled_by"))
}

doubts contains "There are no complete facts about the country that influences the recipient." if {
	direction != "request"
	some code in influencing_countries
	not country_known(code)
}

doubts contains "There are no complete facts about the country that the data comes from." if {
	direction != "request"
	not country_known(origin)
}

country_known(code) if {
	entry := object.get(facts.countries, code, {})
	count(facts_of_a_country - object.keys(entry)) == 0
}

facts_of_a_country := object.keys(facts.attributes)
