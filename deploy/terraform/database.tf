locals {
  makes_database   = var.database != "existing"
  database_url_arn = local.makes_database ? aws_secretsmanager_secret.database_url[0].arn : var.database_url_secret_arn
  database_host    = one(concat(aws_db_instance.this[*].address, aws_rds_cluster.this[*].endpoint))
}

ephemeral "aws_secretsmanager_random_password" "database" {
  count = local.makes_database ? 1 : 0

  password_length     = 32
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "database" {
  count = local.makes_database ? 1 : 0

  name_prefix = "${var.name}-database-"
  description = "The password of Django's database"
  tags        = var.tags
}

resource "aws_secretsmanager_secret_version" "database" {
  count = local.makes_database ? 1 : 0

  secret_id                = aws_secretsmanager_secret.database[0].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.database[0].random_password
  secret_string_wo_version = 1
}

# What was written, which in a later run is not what was just drawn.
ephemeral "aws_secretsmanager_secret_version" "database" {
  count = local.makes_database ? 1 : 0

  secret_id = aws_secretsmanager_secret_version.database[0].secret_id
}

resource "aws_secretsmanager_secret" "database_url" {
  count = local.makes_database ? 1 : 0

  name_prefix = "${var.name}-database-url-"
  description = "DATABASE_URL"
  tags        = var.tags
}

resource "aws_secretsmanager_secret_version" "database_url" {
  count = local.makes_database ? 1 : 0

  secret_id                = aws_secretsmanager_secret.database_url[0].id
  secret_string_wo         = "postgres://mcp:${ephemeral.aws_secretsmanager_secret_version.database[0].secret_string}@${local.database_host}:5432/mcp?sslmode=require"
  secret_string_wo_version = 1
}

resource "aws_security_group" "database" {
  count = local.makes_database ? 1 : 0

  name_prefix = "${var.name}-database-"
  description = "The database, which the tasks alone may call"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count = local.makes_database ? 1 : 0

  security_group_id            = aws_security_group.database[0].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.tasks.id
}

resource "aws_db_subnet_group" "this" {
  count = local.makes_database ? 1 : 0

  name       = var.name
  subnet_ids = var.database_subnet_ids
  tags       = var.tags
}

resource "aws_db_instance" "this" {
  count = var.database == "rds" ? 1 : 0

  identifier                = var.name
  engine                    = "postgres"
  engine_version            = var.database_version
  instance_class            = var.database_instance_class
  db_name                   = "mcp"
  username                  = "mcp"
  password_wo               = ephemeral.aws_secretsmanager_secret_version.database[0].secret_string
  password_wo_version       = 1
  allocated_storage         = 20
  storage_type              = "gp3"
  storage_encrypted         = true
  backup_retention_period   = 7
  multi_az                  = var.database_multi_az
  publicly_accessible       = false
  copy_tags_to_snapshot     = true
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-final"
  db_subnet_group_name      = aws_db_subnet_group.this[0].name
  vpc_security_group_ids    = [aws_security_group.database[0].id]
  tags                      = var.tags
}

resource "aws_rds_cluster" "this" {
  count = var.database == "aurora" ? 1 : 0

  cluster_identifier         = var.name
  engine                     = "aurora-postgresql"
  engine_version             = var.database_version
  database_name              = "mcp"
  master_username            = "mcp"
  master_password_wo         = ephemeral.aws_secretsmanager_secret_version.database[0].secret_string
  master_password_wo_version = 1
  storage_encrypted          = true
  backup_retention_period    = 7
  copy_tags_to_snapshot      = true
  skip_final_snapshot        = false
  final_snapshot_identifier  = "${var.name}-final"
  db_subnet_group_name       = aws_db_subnet_group.this[0].name
  vpc_security_group_ids     = [aws_security_group.database[0].id]
  tags                       = var.tags

  serverlessv2_scaling_configuration {
    min_capacity = var.aurora_capacity.min
    max_capacity = var.aurora_capacity.max
  }
}

resource "aws_rds_cluster_instance" "this" {
  count = var.database == "aurora" ? (var.database_multi_az ? 2 : 1) : 0

  identifier          = "${var.name}-${count.index}"
  cluster_identifier  = aws_rds_cluster.this[0].id
  engine              = aws_rds_cluster.this[0].engine
  instance_class      = "db.serverless"
  publicly_accessible = false
  tags                = var.tags
}
