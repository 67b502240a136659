resource "aws_s3_bucket" "audit" {
  count = var.audit_trail ? 1 : 0

  bucket_prefix = "${var.name}-audit-"
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "audit" {
  count = var.audit_trail ? 1 : 0

  bucket                  = aws_s3_bucket.audit[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "audit" {
  count = var.audit_trail ? 1 : 0

  bucket = aws_s3_bucket.audit[0].id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.audit_days
    }
  }
}

resource "aws_s3_bucket_policy" "audit" {
  count = var.audit_trail ? 1 : 0

  bucket = aws_s3_bucket.audit[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:GetBucketAcl"
        Resource  = aws_s3_bucket.audit[0].arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.audit[0].arn}/AWSLogs/${local.account}/*"
        Condition = {
          StringEquals = {
            "aws:SourceAccount" = local.account
            "s3:x-amz-acl"      = "bucket-owner-full-control"
          }
        }
      },
      {
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.audit[0].arn, "${aws_s3_bucket.audit[0].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_cloudtrail" "this" {
  count = var.audit_trail ? 1 : 0

  name                          = var.name
  s3_bucket_name                = aws_s3_bucket.audit[0].id
  enable_log_file_validation    = true
  include_global_service_events = false
  tags                          = var.tags

  advanced_event_selector {
    name = "Items of both tables"

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }
    field_selector {
      field  = "resources.type"
      equals = ["AWS::DynamoDB::Table"]
    }
    field_selector {
      field  = "resources.ARN"
      equals = [for table in [var.sessions_table, var.events_table] : "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${table}"]
    }
  }

  depends_on = [aws_s3_bucket_policy.audit]
}
