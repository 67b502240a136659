variable "name" {
  description = "What everything is called, or begins with."
  type        = string
  default     = "mcp-sessions"

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.name)) && length(var.name) <= 24 && !startswith(var.name, "internal-")
    error_message = "name is 2 to 24 lower-case letters and digits, with single hyphens between them, such as mcp-sessions, and does not begin with internal-: load balancers and databases take no other."
  }
}

variable "tags" {
  description = "Tags of everything that takes some."
  type        = map(string)
  default     = {}
}

# --- What is served ---------------------------------------------------------------------------------------------------

variable "image" {
  description = "The image that the Dockerfile makes, or one built FROM it, with its tag or digest."
  type        = string

  validation {
    condition     = can(regex("[:@]", var.image))
    error_message = "image needs a tag or a digest, such as 111122223333.dkr.ecr.eu-west-1.amazonaws.com/mcp-sessions:1."
  }
}

variable "operate_image" {
  description = "The image of the one-off and the scheduled tasks, where it differs from image: in a release it is the new one first, so that its migrations run before its tasks start."
  type        = string
  default     = null
}

variable "mcp_server" {
  description = "MCP_SERVER, the server object to serve, as package.module:attribute."
  type        = string
  default     = "mcpsite.server:mcp"
}

variable "mcp_auth" {
  description = "MCP_AUTH, how callers are known. Empty is the server object's own authentication; mcpsite.endpoint.access.auth.public, with MCP_ALLOW_PUBLIC in environment, is anybody."
  type        = string
  default     = "django_mcpz.bearer_tokens.auth.token_auth"

  validation {
    condition     = var.mcp_auth != "mcpsite.endpoint.access.auth.public" || lookup(var.environment, "MCP_ALLOW_PUBLIC", "") == "true"
    error_message = "mcpsite.endpoint.access.auth.public lets anybody in, and needs MCP_ALLOW_PUBLIC = \"true\" in environment."
  }
}

variable "secret_key_secret_arn" {
  description = "ARN of a secret whose whole text is the SECRET_KEY, such as the replica of another region's. Null makes one."
  type        = string
  default     = null

  validation {
    condition     = var.secret_key_secret_arn == null || can(regex("^arn:[^:]+:secretsmanager:.+-[A-Za-z0-9]{6}$", var.secret_key_secret_arn))
    error_message = "secret_key_secret_arn is the whole ARN of a secret, with the six characters that Secrets Manager adds: the role may read that one alone."
  }
}

variable "environment_name" {
  description = "ENVIRONMENT, a tag of the tables and a dimension of every metric."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{1,64}$", var.environment_name))
    error_message = "environment_name is 1 to 64 letters, digits, dots, underscores and hyphens."
  }
}

variable "environment" {
  description = "Further variables of the tasks, by name, such as MCP_ALLOWED_ORIGINS, MCP_ALLOW_PUBLIC or SESSION_TTL_HOURS. They win over the module's own."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["SECRET_KEY", "DATABASE_URL", "DJANGO_SUPERUSER_PASSWORD"])) == 0
    error_message = "SECRET_KEY, DATABASE_URL and DJANGO_SUPERUSER_PASSWORD are secrets: the module makes them, and database_url_secret_arn names a database of your own."
  }
}

# --- Where ------------------------------------------------------------------------------------------------------------

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "load_balancer_subnet_ids" {
  description = "Subnets of two availability zones or more; public ones unless internal."
  type        = list(string)

  validation {
    condition     = length(var.load_balancer_subnet_ids) >= 2
    error_message = "A load balancer needs subnets of two availability zones."
  }
}

variable "task_subnet_ids" {
  description = "Subnets from which ECR, Secrets Manager and CloudWatch Logs can be reached."
  type        = list(string)

  validation {
    condition     = length(var.task_subnet_ids) >= 1
    error_message = "Tasks need a subnet."
  }
}

variable "assign_public_ip" {
  description = "Whether tasks get a public address: true in public subnets, where nothing is reached without one."
  type        = bool
  default     = false
}

variable "database_subnet_ids" {
  description = "Subnets of two availability zones or more for a database that this module makes."
  type        = list(string)
  default     = []
}

variable "gateway_route_table_ids" {
  description = "Route tables of the tasks' subnets that shall get a gateway endpoint for DynamoDB, so that its traffic leaves neither the network nor money at a NAT gateway. Empty where there is one."
  type        = list(string)
  default     = []
}

# --- How it is reached ------------------------------------------------------------------------------------------------

variable "domain_name" {
  description = "The name that clients call, such as mcp.example.com. Null is the load balancer's own."
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "Certificate of ACM for domain_name. Null serves plain HTTP, which is for a first try only: whoever is on the way reads the tokens."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || var.domain_name != null
    error_message = "certificate_arn needs domain_name: no certificate is for the load balancer's own name."
  }
}

variable "hosted_zone_id" {
  description = "Hosted zone of Route 53 that shall get a record for domain_name. Null makes none."
  type        = string
  default     = null

  validation {
    condition     = var.hosted_zone_id == null || var.domain_name != null
    error_message = "hosted_zone_id needs domain_name, the name of the record."
  }
}

variable "internal" {
  description = "Whether the load balancer can be reached from the network alone."
  type        = bool
  default     = false
}

variable "client_cidr_blocks" {
  description = "Addresses that may call."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

# --- How much of it ---------------------------------------------------------------------------------------------------

variable "task_size" {
  description = "One task: small 0.5 vCPU, 1 GB, 1 process; medium 1 vCPU, 2 GB, 2 processes; large 2 vCPU, 4 GB, 4 processes."
  type        = string
  default     = "small"

  validation {
    condition     = contains(["small", "medium", "large"], var.task_size)
    error_message = "task_size is small, medium or large."
  }
}

variable "architecture" {
  description = "What the image was built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "architecture is X86_64 or ARM64."
  }
}

variable "min_tasks" {
  description = "Two or more survive the loss of a task, or of an availability zone."
  type        = number
  default     = 2

  validation {
    condition     = var.min_tasks >= 1
    error_message = "min_tasks is 1 or more."
  }
}

variable "max_tasks" {
  description = "Scaling ends here. Each process of a task holds up to 5 connections to Django's database."
  type        = number
  default     = 10

  validation {
    condition     = var.max_tasks >= var.min_tasks
    error_message = "max_tasks is min_tasks or more."
  }
}

variable "target_cpu_percent" {
  description = "Tasks are added above this use of their CPU, and taken away well below it."
  type        = number
  default     = 60

  validation {
    condition     = var.target_cpu_percent >= 10 && var.target_cpu_percent <= 90
    error_message = "target_cpu_percent is 10 to 90."
  }
}

variable "target_streams" {
  description = "The same for the open streams of a process; at 10,000 it sends the idle ones elsewhere."
  type        = number
  default     = 2000

  validation {
    condition     = var.target_streams >= 10 && var.target_streams <= 10000
    error_message = "target_streams is 10 to 10000."
  }
}

# --- Tables -----------------------------------------------------------------------------------------------------------

variable "create_tables" {
  description = "False where the tables are there already, by dynamodb_setup or a stack."
  type        = bool
  default     = true
}

variable "sessions_table" {
  description = "Name of the sessions table."
  type        = string
  default     = "mcp-sessions"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,255}$", var.sessions_table))
    error_message = "sessions_table is 3 to 255 letters, digits, hyphens, underscores and dots."
  }
}

variable "events_table" {
  description = "Name of the events table."
  type        = string
  default     = "mcp-session-events"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,255}$", var.events_table)) && var.events_table != var.sessions_table
    error_message = "events_table is 3 to 255 letters, digits, hyphens, underscores and dots, and not the sessions table's name."
  }
}

variable "point_in_time_recovery" {
  description = "Tables that this module makes can be restored to any second of the last 35 days. DynamoDB charges it by the size of the tables."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Nobody, this module included, deletes the tables that it made before this is false."
  type        = bool
  default     = true
}

variable "tables_key_arn" {
  description = "KMS key of the tables, where they have one of your account. Null is a key that DynamoDB owns."
  type        = string
  default     = null

  validation {
    condition     = var.tables_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]+:key/", var.tables_key_arn))
    error_message = "tables_key_arn is the ARN of a KMS key, not of an alias."
  }
}

variable "backups" {
  description = "Backs up both tables on a schedule. False where something else does; an alarm tells of tables without a backup of the last seven days either way."
  type        = bool
  default     = true
}

variable "backup_schedule" {
  description = "When, in UTC, as EventBridge writes it. At most one set of backups a day comes of it."
  type        = string
  default     = "cron(15 3 * * ? *)"

  validation {
    condition     = can(regex("^(cron|rate)\\(.+\\)$", var.backup_schedule))
    error_message = "backup_schedule is a schedule of EventBridge, such as cron(15 3 * * ? *)."
  }
}

variable "backup_days" {
  description = "Days of backups that are kept. DynamoDB charges each by the whole size of the tables."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_days >= 1 && floor(var.backup_days) == var.backup_days
    error_message = "backup_days is a whole number over 0."
  }
}

# --- Django's database ------------------------------------------------------------------------------------------------

variable "database" {
  description = "PostgreSQL for staff accounts and tokens: rds, one instance; aurora, Aurora Serverless v2; existing, your own, which database_url_secret_arn names. Sessions are in DynamoDB and need none of it."
  type        = string
  default     = "rds"

  validation {
    condition     = contains(["rds", "aurora", "existing"], var.database)
    error_message = "database is rds, aurora or existing."
  }
  validation {
    condition     = var.database == "existing" || length(var.database_subnet_ids) >= 2
    error_message = "A database that this module makes needs database_subnet_ids of two availability zones."
  }
}

variable "database_url_secret_arn" {
  description = "For a database of existing: a secret whose whole text is the DATABASE_URL, such as postgres://user:password@host:5432/name?sslmode=require. The database has to let the tasks in."
  type        = string
  default     = null

  validation {
    condition     = (var.database == "existing") == (var.database_url_secret_arn != null)
    error_message = "database_url_secret_arn is for database = \"existing\", which needs it."
  }
  validation {
    condition     = var.database_url_secret_arn == null || can(regex("^arn:[^:]+:secretsmanager:.+-[A-Za-z0-9]{6}$", var.database_url_secret_arn))
    error_message = "database_url_secret_arn is the whole ARN of a secret, with the six characters that Secrets Manager adds: the role may read that one alone."
  }
}

variable "database_version" {
  description = "PostgreSQL's version where this module makes the database."
  type        = string
  default     = "17"
}

variable "database_instance_class" {
  description = "For a database of rds."
  type        = string
  default     = "db.t4g.micro"
}

variable "database_multi_az" {
  description = "A standby of RDS, or a reader of Aurora, in a second availability zone, at twice the price. Without it, new tokens and staff pages wait for a replacement; sessions whose token a process remembers do not."
  type        = bool
  default     = false
}

variable "aurora_capacity" {
  description = "Aurora capacity units: what always runs, and the most. At a min of 0 it would sleep, and wake too slowly for a request."
  type        = object({ min = number, max = number })
  default     = { min = 0.5, max = 2 }

  validation {
    condition     = var.aurora_capacity.min >= 0.5 && var.aurora_capacity.max >= max(1, var.aurora_capacity.min)
    error_message = "aurora_capacity has a min of 0.5 or more, and a max of 1 or more that is not less."
  }
}

# --- What staff may do, and what is told of it ------------------------------------------------------------------------

variable "staff_may" {
  description = "What the role of the site allows its staff pages, by the policies of deploy/iam. serve: those of sessions. look: the dashboard, tables and backups too. operate: their buttons, with which tables can be deleted."
  type        = string
  default     = "look"

  validation {
    condition     = contains(["serve", "look", "operate"], var.staff_may)
    error_message = "staff_may is serve, look or operate."
  }
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30
}

variable "alarm_topic_arn" {
  description = "SNS topic that alarms and their ends are sent to. Null sends them nowhere."
  type        = string
  default     = null
}

variable "slow_request_ms" {
  description = "RequestLatency p99 above which requests are too slow, in milliseconds, the tools' own time included."
  type        = number
  default     = 5000
}

variable "audit_trail" {
  description = "A trail of CloudTrail with every request to the items of both tables: who, when, which keys; no values. CloudTrail charges each of these data events, and S3 their storage. A call that reads is one event, one that changes state two, and each process looks into its inbox up to twice a second while it has open streams: on a busy service the trail costs more than the tables."
  type        = bool
  default     = false
}

variable "audit_days" {
  description = "Days that the trail's files are kept."
  type        = number
  default     = 90
}

variable "container_insights" {
  description = "CloudWatch's own metrics of each task, which it charges for: disabled, enabled or enhanced."
  type        = string
  default     = "disabled"

  validation {
    condition     = contains(["disabled", "enabled", "enhanced"], var.container_insights)
    error_message = "container_insights is disabled, enabled or enhanced."
  }
}
