# How the request is read: the only file that touches the input. Whatever is missing or is not of
# its kind is read as the value that helps the requester least, and no rule meets an undefined value.
package dfft

import data.dfft.facts

# The request and its parts.

default dataset := {}

dataset := input.dataset if is_object(input.dataset)

default recipient := {}

recipient := input.recipient if is_object(input.recipient)

default sender := {}

sender := input.sender if is_object(input.sender)

default legal := {}

legal := input.legal if is_object(input.legal)

default channel := {}

channel := given if {
	given := input.channel
	is_object(given)
} else := {"direction": "unreadable"} if {
	given := input.channel
	not is_object(given)
}

# METADATA
# description: >-
#   export, data leaves us for the recipient; import, a partner (sender) pushes data to us
#   (recipient); request, we ask a partner (sender) for data.
default direction := "unreadable"

direction := given if {
	given := object.get(channel, "direction", "export")
	given in {"export", "import", "request"}
}

# METADATA
# description: The day on which the decision is made, YYYY-MM-DD; empty when it cannot be read.
default today := ""

today := day_of(input.at)

default action := ""

action := input.action if is_string(input.action)

default purpose := ""

purpose := input.purpose if is_string(input.purpose)

# METADATA
# description: The tags that are text; a list that holds anything else fails DFFT-G1.
default tags := set()

tags := {tag | some tag in dataset.tags; is_string(tag)} if is_array(object.get(dataset, "tags", null))

# Reading single fields.

text(section, field) := value if {
	value := object.get(section, field, "")
	is_string(value)
} else := ""

# METADATA
# description: A favourable statement counts only when it is exactly true.
stated(section, field) if object.get(section, field, false) == true

# METADATA
# description: An adverse statement is dismissed only when it is absent or exactly false.
suspected(section, field) if object.get(section, field, false) != false

# The day of a date or a time, YYYY-MM-DD; empty when it cannot be read.
day_of(value) := day if {
	is_string(value)
	day := substring(value, 0, 10)
	substring(value, 10, 1) in {"", "T"}
	parts := split(day, "-")
	count(parts) == 3
	is_year(parts[0])
	parts[1] in months
	parts[2] in days
} else := ""

is_year(year) if {
	count(year) == 4
	trim(year, "0123456789") == ""
}

months := {"01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12"}

days := months | {
	"13", "14", "15", "16", "17", "18", "19", "20", "21", "22",
	"23", "24", "25", "26", "27", "28", "29", "30", "31",
}

# Countries.

country := text(recipient, "country")

origin := text(dataset, "origin")

# METADATA
# description: The value of a country fact; null when the country or the fact is not known.
fact(code, attribute) := object.get(object.get(facts.countries, code, {}), attribute, null)

# METADATA
# description: Countries that can direct what the recipient does with the data.
reached_countries contains country

reached_countries contains text(recipient, "controlled_by") if suspected(recipient, "controlled_by")

# METADATA
# title: "DFFT-S3: deemed export"
# description: >-
#   A resident under foreign influence (METI specific categories 1 to 3) counts as an export to
#   that country. What cannot be read counts as an export to an unknown country.
# custom:
#   rule: DFFT-S3
#   basis: METI notification on deemed exports, in force 2022-05-01
#   source: [JP-DEEMED]
#   remedy: Record the person's declaration on specific categories; obtain a licence if one applies.
#   inputs: [recipient.specific_category]
specific_category := object.get(recipient, "specific_category", false)

influencing_countries contains text(specific_category, "country") if {
	is_object(specific_category)
	object.get(specific_category, "n", null) in influence_categories
}

influencing_countries contains "" if {
	specific_category != false
	not readable_category
}

readable_category if {
	is_object(specific_category)
	object.get(specific_category, "n", null) in (influence_categories | {0})
}

influence_categories := {category.n | some category in facts.lists.deemed_export_categories.categories}

# What the tags say.

person_kinds := {"privacy:health", "privacy:biometric", "privacy:genetic", "privacy:location", "privacy:financial", "privacy:child"}

personal if count(tags & {"privacy:personal", "privacy:special", "privacy:pseudonymised"}) > 0

personal if {
	count(tags & person_kinds) > 0
	not "privacy:anonymised" in tags
}

# METADATA
# description: Personal data that the law treats with special care, whichever country's law it is.
special_care if "privacy:special" in tags

special_care if {
	personal
	count(tags & person_kinds) > 0
}

# METADATA
# description: Tags without the value that some carry, such as security:controlled for security:controlled=7.
tag_names := {split(tag, "=")[0] | some tag in tags}

controlled if "security:controlled" in tag_names

unpublished_invention if "ip:patent-field" in tag_names

emerging_technology if "security:emerging" in tag_names

critical_infrastructure if "security:critical-infra" in tag_names

chokepoint_supply if "security:chokepoint" in tag_names

# Columns. A dataset that does not map its columns is read as if each were named after its concept;
# a gateway that does not find such a column refuses to forward.

default columns_mapped := false

columns_mapped if {
	is_object(dataset.columns)
	count(dataset.columns) > 0
	count({concept | some concept in dataset.columns; not known_concept(concept)}) == 0
}

known_concept(concept) if {
	is_string(concept)
	is_string(object.get(facts.vocabulary.concepts, concept, null))
}

columns := dataset.columns if {
	columns_mapped
} else := {concept: concept | some concept, _ in facts.vocabulary.concepts}

columns_about(concepts) := sort({column | some column, concept in columns; concept in concepts})
