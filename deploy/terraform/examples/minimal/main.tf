# The least: the image, and a network that is there. Plain HTTP on the load balancer's own name, for a first try; for
# more than that give the module a domain_name and a certificate_arn.
variable "image" {
  description = "The image that the Dockerfile makes, with its tag."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "public_subnet_ids" {
  description = "Public subnets of two availability zones."
  type        = list(string)
}

module "mcp_sessions" {
  source = "../.."

  image                    = var.image
  vpc_id                   = var.vpc_id
  load_balancer_subnet_ids = var.public_subnet_ids
  task_subnet_ids          = var.public_subnet_ids
  database_subnet_ids      = var.public_subnet_ids
  assign_public_ip         = true
}

output "url" {
  description = "The endpoint."
  value       = module.mcp_sessions.url
}
