//! Which purposes lie within which: the Data Privacy Vocabulary 2.0, and what our own purposes name as broader.
//!
//! To forbid a purpose is to forbid what lies within it. That can only be held to when all that lies within is known, so
//! a purpose that is not here is refused wherever it takes away, and a request that states one is not known to be
//! outside of anything.

/// Broader purposes and those directly within them. `dpv:Purpose` is not here, since everything lies within it, and
/// neither is `dpv:RightsFulfillment`: the vocabulary puts it within something that is no purpose.
const WITHIN: [(&str, &[&str]); 37] = [
    ("dfft:PatentFiling", &[]),
    ("dpv-ai:ModelTraining", &[]),
    ("dpv:AccountManagement", &[]),
    ("dpv:Advertising", &["dpv:PersonalisedAdvertising"]),
    ("dpv:CommercialPurpose", &["dpv:CommercialResearch"]),
    ("dpv:CommunicationManagement", &["dpv:CommunicationForCustomerCare"]),
    ("dpv:CreditChecking", &["dpv:MaintainCreditCheckingDatabase", "dpv:MaintainCreditRatingDatabase"]),
    ("dpv:CustomerCare", &["dpv:CommunicationForCustomerCare"]),
    (
        "dpv:CustomerManagement",
        &[
            "dpv:CustomerCare",
            "dpv:CustomerClaimsManagement",
            "dpv:CustomerOrderManagement",
            "dpv:CustomerRelationshipManagement",
            "dpv:CustomerSolvencyMonitoring",
        ],
    ),
    ("dpv:CustomerRelationshipManagement", &["dpv:ImproveInternalCRMProcesses"]),
    ("dpv:CustomerSolvencyMonitoring", &["dpv:CreditChecking"]),
    (
        "dpv:EnforceSecurity",
        &[
            "dpv:EnforceAccessControl",
            "dpv:IdentityAuthentication",
            "dpv:MisusePreventionAndDetection",
            "dpv:Verification",
        ],
    ),
    ("dpv:EstablishContractualAgreement", &[]),
    ("dpv:FraudPreventionAndDetection", &["dpv:CounterMoneyLaundering", "dpv:MaintainFraudDatabase"]),
    (
        "dpv:FulfilmentOfObligation",
        &["dpv:FulfilmentOfContractualObligation", "dpv:LegalCompliance", "dpv:ProtectionOfIPR"],
    ),
    ("dpv:HumanResourceManagement", &["dpv:PersonnelManagement"]),
    ("dpv:LegalCompliance", &["dfft:StatutoryHealthNotification"]),
    ("dpv:Marketing", &["dpv:Advertising", "dpv:DirectMarketing", "dpv:PublicRelations", "dpv:SocialMediaMarketing"]),
    ("dpv:MisusePreventionAndDetection", &["dpv:FraudPreventionAndDetection"]),
    ("dpv:NonCommercialPurpose", &["dpv:NonCommercialResearch"]),
    ("dpv:OptimisationForConsumer", &["dpv:OptimiseUserInterface"]),
    (
        "dpv:OptimisationForController",
        &[
            "dpv:ImproveExistingProductsAndServices",
            "dpv:ImproveInternalCRMProcesses",
            "dpv:IncreaseServiceRobustness",
            "dpv:InternalResourceOptimisation",
        ],
    ),
    (
        "dpv:OrganisationGovernance",
        &[
            "dpv:DisputeManagement",
            "dpv:MemberPartnerManagement",
            "dpv:OrganisationComplianceManagement",
            "dpv:OrganisationRiskManagement",
        ],
    ),
    ("dpv:Personalisation", &["dpv:PersonalisedAdvertising", "dpv:ServicePersonalisation"]),
    ("dpv:PersonalisedAdvertising", &["dpv:TargetedAdvertising"]),
    ("dpv:PersonnelManagement", &["dpv:PersonnelHiring", "dpv:PersonnelPayment"]),
    (
        "dpv:ProvidePersonalisedRecommendations",
        &["dpv:ProvideEventRecommendations", "dpv:ProvideProductRecommendations"],
    ),
    (
        "dpv:PublicBenefit",
        &[
            "dfft:DisasterResponse",
            "dpv:CombatClimateChange",
            "dpv:Counterterrorism",
            "dpv:DataAltruism",
            "dpv:ImproveHealthcare",
            "dpv:ImprovePublicServices",
            "dpv:ImproveTransportMobility",
            "dpv:ProtectionOfNationalSecurity",
            "dpv:ProtectionOfPublicSecurity",
            "dpv:ProvideOfficialStatistics",
            "dpv:PublicPolicyMaking",
        ],
    ),
    ("dpv:RecordManagement", &[]),
    ("dpv:RequestedServiceProvision", &["dpv:DeliveryOfGoods"]),
    (
        "dpv:ResearchAndDevelopment",
        &[
            "dfft:JointDevelopment",
            "dpv:AcademicResearch",
            "dpv:CommercialResearch",
            "dpv:NonCommercialResearch",
            "dpv:ScientificResearch",
        ],
    ),
    ("dpv:SellProducts", &["dpv:SellDataToThirdParties", "dpv:SellInsightsFromData", "dpv:SellProductsToDataSubject"]),
    ("dpv:ServiceOptimisation", &["dpv:OptimisationForConsumer", "dpv:OptimisationForController"]),
    (
        "dpv:ServicePersonalisation",
        &["dpv:PersonalisedBenefits", "dpv:ProvidePersonalisedRecommendations", "dpv:UserInterfacePersonalisation"],
    ),
    (
        "dpv:ServiceProvision",
        &[
            "dpv:PaymentManagement",
            "dpv:RepairImpairments",
            "dpv:RequestedServiceProvision",
            "dpv:SearchFunctionalities",
            "dpv:SellProducts",
            "dpv:ServiceOptimisation",
            "dpv:ServicePersonalisation",
            "dpv:ServiceRegistration",
            "dpv:ServiceUsageAnalytics",
            "dpv:TechnicalServiceProvision",
        ],
    ),
    (
        "dpv:VendorManagement",
        &[
            "dfft:SupplyChainResilience",
            "dpv:VendorPayment",
            "dpv:VendorRecordsManagement",
            "dpv:VendorSelectionAssessment",
        ],
    ),
    ("dpv:Verification", &["dpv:AgeVerification", "dpv:IdentityVerification"]),
];

/// Whether it is known what lies within a purpose, and within which it lies.
pub(super) fn is_known(purpose: &str) -> bool {
    WITHIN.iter().any(|(broader, within)| *broader == purpose || within.contains(&purpose))
}

/// All that lies within a purpose at any depth, itself left out and each once; `None` when that is not known.
pub(super) fn within(purpose: &str) -> Option<Vec<&'static str>> {
    if !is_known(purpose) {
        return None;
    }
    let mut found = directly_within(purpose).to_vec();
    let mut next = 0;
    // The vocabulary has no circles, and a purpose that was found is not taken again.
    while let Some(broader) = found.get(next).copied() {
        for narrower in directly_within(broader) {
            if !found.contains(narrower) {
                found.push(narrower);
            }
        }
        next += 1;
    }
    Some(found)
}

fn directly_within(purpose: &str) -> &'static [&'static str] {
    WITHIN.iter().find(|(broader, _)| *broader == purpose).map_or(&[], |(_, within)| within)
}
