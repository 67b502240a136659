output "url" {
  description = "The endpoint."
  value       = "${var.certificate_arn == null ? "http" : "https"}://${local.host}/mcp"
}

output "load_balancer_name" {
  description = "What a record of domain_name has to point at, where hosted_zone_id made none."
  value       = aws_lb.this.dns_name
}

output "cluster_name" {
  description = "For 'aws ecs run-task'."
  value       = aws_ecs_cluster.this.name
}

output "service_name" {
  description = "For 'aws ecs describe-services'."
  value       = aws_ecs_service.this.name
}

output "operate_task_arn" {
  description = "The task definition of one-off commands; as it is it migrates."
  value       = aws_ecs_task_definition.this["operate"].arn
}

output "run_network" {
  description = "Its --network-configuration."
  value       = "awsvpcConfiguration={subnets=[${join(",", var.task_subnet_ids)}],securityGroups=[${aws_security_group.tasks.id}],assignPublicIp=${var.assign_public_ip ? "ENABLED" : "DISABLED"}}"
}

output "admin_password_arn" {
  description = "Secret with the password of the first staff account."
  value       = aws_secretsmanager_secret.admin.arn
}

output "secret_key_arn" {
  description = "Secret with the SECRET_KEY, to be replicated to other regions."
  value       = local.secret_key_arn
}

output "log_group_name" {
  description = "The log of all tasks."
  value       = aws_cloudwatch_log_group.this.name
}

output "task_security_group_id" {
  description = "What a database of your own, or an interface endpoint, has to let in."
  value       = aws_security_group.tasks.id
}
