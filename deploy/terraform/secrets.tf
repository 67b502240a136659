locals {
  secret_key_arn = var.secret_key_secret_arn == null ? aws_secretsmanager_secret.secret_key[0].arn : var.secret_key_secret_arn
}

# Made by Secrets Manager and written once: none of these texts is in a plan or a state. A later run draws others, and
# drops them.
ephemeral "aws_secretsmanager_random_password" "secret_key" {
  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "secret_key" {
  count = var.secret_key_secret_arn == null ? 1 : 0

  name_prefix = "${var.name}-secret-key-"
  description = "SECRET_KEY, which signs cookies and request state"
  tags        = var.tags
}

resource "aws_secretsmanager_secret_version" "secret_key" {
  count = var.secret_key_secret_arn == null ? 1 : 0

  secret_id                = aws_secretsmanager_secret.secret_key[0].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.secret_key.random_password
  secret_string_wo_version = 1
}

ephemeral "aws_secretsmanager_random_password" "admin" {
  password_length     = 24
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "admin" {
  name_prefix = "${var.name}-admin-"
  description = "The password that createsuperuser gives the first staff account, admin"
  tags        = var.tags
}

resource "aws_secretsmanager_secret_version" "admin" {
  secret_id                = aws_secretsmanager_secret.admin.id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.admin.random_password
  secret_string_wo_version = 1
}
