"""serving/policies/residency"""
