# METADATA
# scope: package
# title: DFFT reference policy
# description: >-
#   Decides whether a dataset may cross a border, and under which obligations. The rules stand in
#   four files: trust, privacy, intellectual_property and security. Each states one law and adds
#   findings (why not, or why only after a person has looked) and duties (what must be done to the
#   data or by the recipient). This file weighs them; request.rego reads the request.
#   Not legal advice.
# organizations: [Sekisho]
package dfft

# METADATA
# title: Decision
# description: Deny beats review beats permit. Total; every request gets exactly one decision.
# entrypoint: true
decision := {
	"decision": verdict,
	"reasons": reasons,
	"obligations": obligations,
}

default verdict := "permit"

verdict := "deny" if "deny" in effects

else := "review" if "review" in effects

effects := {finding.effect | some finding in weighed}

# METADATA
# description: >-
#   When we ask a partner for a dataset, its tags are not known here. Only the rules that look at
#   the partner can be weighed; the partner's own gateway weighs the rest.
weighed contains finding if {
	direction != "request"
	some finding in findings
}

weighed contains finding if {
	direction == "request"
	some finding in findings
	finding.rule in {"DFFT-G2", "DFFT-G3", "DFFT-S1"}
}

owed contains obligation if {
	direction != "request"
	some obligation in duties
}

# Sorted by rule, then effect, so that equal requests give equal bytes.
reasons := [entry[2] | some entry in sort({[finding.rule, finding.effect, finding] | some finding in weighed})]

obligations := [entry[2] | some entry in sort({[duty.rule, duty.do, duty] | some duty in owed})]

# How the rules speak.

denied(rule, why, remedy) := {"rule": rule, "effect": "deny", "why": why, "remedy": remedy}

# Who may approve is an office of the organisation.
held(rule, why, remedy, approvers) := {
	"rule": rule, "effect": "review", "why": why, "remedy": remedy,
	"approvers": approvers,
}

duty_under(rule, action, parameters) := object.union({"rule": rule, "do": action}, parameters)
