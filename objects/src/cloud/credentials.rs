//! Whether the environment names credentials for a place.
//!
//! Without any, `object_store` asks an address that on a machine of the cloud gives that machine's
//! own credentials. Elsewhere whoever answers there would be believed, or nobody answers for long.
//! So it is asked only where the environment says so.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3};
use object_store::azure::{AzureConfigKey as Az, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Gs};

/// Where `gcloud` leaves the credentials of a person, below the home directory.
const OF_GCLOUD: &str = ".config/gcloud/application_default_credentials.json";

/// What the environment lacks for an S3 place, in words; `None` if nothing.
pub(super) fn lacking_s3(builder: &AmazonS3Builder) -> Option<String> {
    let has = |key: S3| is_set(builder.get_config_value(&key));
    let named = has(S3::AccessKeyId) && has(S3::SecretAccessKey)
        || has(S3::WebIdentityTokenFile) && has(S3::RoleArn)
        || has(S3::ContainerCredentialsRelativeUri)
        || has(S3::ContainerCredentialsFullUri) && has(S3::ContainerAuthorizationTokenFile)
        || has(S3::MetadataEndpoint)
        || has(S3::SkipSignature);
    let wanted = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and AWS_ENDPOINT_URL \
                  for a server that is not Amazon's; on a machine of Amazon's that has a role, \
                  AWS_METADATA_ENDPOINT=http://169.254.169.254";
    (!named).then(|| lacking(wanted))
}

/// What the environment lacks for a place of Google's.
pub(super) fn lacking_gs(builder: &GoogleCloudStorageBuilder) -> Option<String> {
    let has = |key: Gs| is_set(builder.get_config_value(&key));
    let there = |name: &str| is_set(std::env::var(name).ok());
    let of_gcloud = || std::env::home_dir().is_some_and(|home| home.join(OF_GCLOUD).exists());
    let named = has(Gs::ServiceAccount)
        || has(Gs::ServiceAccountKey)
        || has(Gs::ApplicationCredentials)
        || has(Gs::BearerToken)
        || has(Gs::SkipSignature)
        || ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"].into_iter().any(there)
        || of_gcloud();
    let wanted = "GOOGLE_APPLICATION_CREDENTIALS, the file of a service account; on a machine of \
                  Google's that has one, GCE_METADATA_HOST=metadata.google.internal";
    (!named).then(|| lacking(wanted))
}

/// What the environment lacks for a place of Azure's.
pub(super) fn lacking_az(builder: &MicrosoftAzureBuilder) -> Option<String> {
    let has = |key: Az| is_set(builder.get_config_value(&key));
    let named = has(Az::AccessKey)
        || has(Az::SasKey)
        || has(Az::Token)
        || has(Az::ClientId) && has(Az::ClientSecret) && has(Az::AuthorityId)
        || has(Az::ClientId) && has(Az::FederatedTokenFile) && has(Az::AuthorityId)
        || has(Az::UseAzureCli)
        || has(Az::UseEmulator)
        || has(Az::MsiEndpoint)
        || has(Az::FabricTokenServiceUrl)
        || has(Az::SkipSignature);
    let wanted = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY; on a machine of \
                  Azure's that has an identity, \
                  AZURE_MSI_ENDPOINT=http://169.254.169.254/metadata/identity/oauth2/token";
    (!named).then(|| lacking(wanted))
}

fn lacking(wanted: &str) -> String {
    format!("the environment names no credentials for it; set {wanted}")
}

fn is_set(value: Option<String>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_credentials_no_machine_is_asked_for_its_own() {
        let s3 = AmazonS3Builder::new();
        let text = lacking_s3(&s3).unwrap_or_default();
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"]
        {
            assert!(text.contains(name), "{text}");
        }
        assert!(lacking_s3(&s3.clone().with_access_key_id("ada")).is_some(), "half of a pair");
        let pair = s3.clone().with_access_key_id("ada").with_secret_access_key("x");
        assert_eq!(lacking_s3(&pair), None);
        assert_eq!(lacking_s3(&s3.clone().with_metadata_endpoint("http://127.0.0.1:1")), None);
        assert!(lacking_s3(&s3.clone().with_skip_signature(false)).is_some());
        assert_eq!(lacking_s3(&s3.with_skip_signature(true)), None);

        let gs = GoogleCloudStorageBuilder::new().with_service_account_path("/ada.json");
        assert_eq!(lacking_gs(&gs), None);

        let az = MicrosoftAzureBuilder::new();
        assert!(lacking_az(&az).is_some_and(|text| text.contains("AZURE_STORAGE_ACCOUNT_KEY")));
        assert!(lacking_az(&az.clone().with_client_id("ada")).is_some());
        assert_eq!(lacking_az(&az.clone().with_access_key("eA==")), None);
        assert_eq!(lacking_az(&az.with_use_emulator(true)), None);
    }
}
